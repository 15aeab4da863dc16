/** Who is calling: admin keys, and the JSON web tokens that `auth.config.ts` trusts. */
import { createHash, timingSafeEqual } from "node:crypto";
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  decodeJwt,
  jwtVerify,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
} from "jose";
import { ANONYMOUS, type Identity } from "./call.ts";
import { messageOf, RequestError } from "./errors.ts";
import type { Json, JsonObject } from "./values.ts";

interface CustomJwtProvider {
  type: "customJwt";
  issuer: string;
  jwks: string;
  algorithm: string;
  applicationID?: string;
}

interface OidcProvider {
  domain: string;
  applicationID: string;
}

export type Provider = CustomJwtProvider | OidcProvider;

const STANDARD_CLAIMS: Readonly<Record<string, string>> = {
  name: "name",
  given_name: "givenName",
  family_name: "familyName",
  nickname: "nickname",
  preferred_username: "preferredUsername",
  profile: "profileUrl",
  picture: "pictureUrl",
  website: "websiteUrl",
  email: "email",
  email_verified: "emailVerified",
  gender: "gender",
  birthdate: "birthday",
  zoneinfo: "timezone",
  locale: "language",
  phone_number: "phoneNumber",
  phone_number_verified: "phoneNumberVerified",
  address: "address",
  updated_at: "updatedAt",
};
const PROTOCOL_CLAIMS = new Set(["iss", "sub", "aud", "exp", "nbf", "iat", "jti"]);

export class Authenticator {
  private readonly adminKey: string;
  private readonly providers: () => readonly Provider[];
  private readonly keys = new Map<string, JWTVerifyGetKey>();

  /** `providers`: asked each time, because an environment variable in `auth.config.ts` may change. */
  constructor(adminKey: string, providers: () => readonly Provider[]) {
    this.adminKey = adminKey;
    this.providers = providers;
  }

  /**
   * Reads an Authorization header.
   *
   * Raises:
   *   RequestError: 401, the key or token is not accepted.
   */
  async authenticate(header: string | undefined): Promise<Identity> {
    if (header === undefined || header === "") return ANONYMOUS;
    const [scheme, credential = ""] = header.split(/\s+/, 2);
    if (scheme?.toLowerCase() === "convex") return this.admin(credential);
    if (scheme?.toLowerCase() === "bearer") return this.user(credential);
    throw new RequestError(401, "InvalidAuthHeader", 'The Authorization header must begin with "Bearer" or "Convex".');
  }

  /** `credential`: the key, and after a colon the base64 JSON of the identity to act as, if any. */
  admin(credential: string): Identity {
    const colon = credential.indexOf(":");
    const key = colon < 0 ? credential : credential.slice(0, colon);
    if (!sameText(key, this.adminKey))
      throw new RequestError(401, "BadAdminKey", "The provided admin key was invalid for this instance.");
    if (colon < 0) return { kind: "admin", actingAs: null };
    return {
      kind: "admin",
      actingAs: JSON.parse(Buffer.from(credential.slice(colon + 1), "base64").toString("utf8")) as JsonObject,
    };
  }

  async user(token: string): Promise<Identity> {
    const claimed = claims(token);
    const provider = this.providers().find((candidate) => accepts(candidate, claimed));
    if (provider === undefined) {
      throw new RequestError(
        401,
        "NoAuthProvider",
        `No auth provider found matching the given token (issuer ${JSON.stringify(claimed.iss)}, audience ${JSON.stringify(claimed.aud)}). Check convex/auth.config.ts.`,
      );
    }
    try {
      const { payload } = await jwtVerify(token, await this.keysOf(provider), {
        requiredClaims: ["iss", "sub", "exp", "iat"],
        ...("type" in provider ? { algorithms: [provider.algorithm] } : {}),
      });
      return { kind: "user", attributes: identityOf(payload), token, expiresAt: (payload.exp ?? 0) * 1000 };
    } catch (error) {
      throw new RequestError(401, "Unauthenticated", `Could not verify token claim: ${messageOf(error)}`);
    }
  }

  private async keysOf(provider: Provider): Promise<JWTVerifyGetKey> {
    const source = "type" in provider ? provider.jwks : await discover(provider.domain);
    let keys = this.keys.get(source);
    if (keys === undefined) {
      keys = source.startsWith("data:") ? createLocalJWKSet(dataKeys(source)) : createRemoteJWKSet(new URL(source));
      this.keys.set(source, keys);
    }
    return keys;
  }
}

function claims(token: string): JWTPayload {
  try {
    return decodeJwt(token);
  } catch (error) {
    throw new RequestError(401, "InvalidAuthHeader", `Could not parse JWT payload: ${messageOf(error)}`);
  }
}

function accepts(provider: Provider, { iss, aud }: JWTPayload): boolean {
  const issuer = "type" in provider ? provider.issuer : withScheme(provider.domain);
  if (iss === undefined || bare(iss) !== bare(issuer)) return false;
  if (provider.applicationID === undefined) return true;
  return (Array.isArray(aud) ? aud : [aud]).includes(provider.applicationID);
}

function bare(issuer: string): string {
  return issuer.replace(/\/$/, "");
}

function withScheme(domain: string): string {
  return /^https?:\/\//.test(domain) ? domain : `https://${domain}`;
}

async function discover(domain: string): Promise<string> {
  const response = await fetch(`${bare(withScheme(domain))}/.well-known/openid-configuration`);
  return ((await response.json()) as { jwks_uri: string }).jwks_uri;
}

function dataKeys(source: string): JSONWebKeySet {
  const comma = source.indexOf(",");
  const body = source.slice(comma + 1);
  const text = source.slice(0, comma).endsWith(";base64")
    ? Buffer.from(body, "base64").toString("utf8")
    : decodeURIComponent(body);
  return JSON.parse(text) as JSONWebKeySet;
}

function identityOf(payload: JWTPayload): JsonObject {
  const { iss = "", sub = "" } = payload;
  const identity: JsonObject = { tokenIdentifier: `${iss}|${sub}`, issuer: iss, subject: sub };
  for (const [claim, value] of Object.entries(payload)) {
    if (!PROTOCOL_CLAIMS.has(claim)) identity[STANDARD_CLAIMS[claim] ?? claim] = value as Json;
  }
  return identity;
}

function sameText(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
