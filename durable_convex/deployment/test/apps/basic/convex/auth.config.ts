export default {
  providers: [
    {
      type: "customJwt",
      issuer: "https://workers.test",
      algorithm: "ES256",
      jwks: process.env.JWKS ?? "data:application/json,%7B%22keys%22%3A%5B%5D%7D",
    },
  ],
};
