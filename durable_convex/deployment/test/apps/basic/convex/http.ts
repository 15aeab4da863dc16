import { anyApi, httpActionGeneric, httpRouter } from "convex/server";

const http = httpRouter();
const items = (anyApi as any).items;

http.route({
  path: "/items",
  method: "POST",
  handler: httpActionGeneric(async (ctx, request) => {
    const { name } = (await request.json()) as { name: string };
    const id = await ctx.runMutation(items.add, { name, rank: 1 });
    return new Response(JSON.stringify({ id, url: new URL(request.url).pathname }), {
      status: 201,
      headers: { "Content-Type": "application/json", "X-Seen": request.headers.get("x-sent") ?? "" },
    });
  }),
});
http.route({
  pathPrefix: "/fail/",
  method: "GET",
  handler: httpActionGeneric(async () => {
    throw new Error("a secret of the server");
  }),
});

export default http;
