// The page: it only shows what Convex sends. Every change of a run arrives by itself; nothing here polls.
import { ConvexClient } from "convex/browser";
import { anyApi, type ApiFromModules, type FunctionReturnType } from "convex/server";
import type * as orders from "../convex/orders";

// With `npx convex dev` this comes from "../convex/_generated/api".
const api = (anyApi as unknown as ApiFromModules<{ orders: typeof orders }>).orders;
type Recent = FunctionReturnType<typeof api.recent>;
type Follow = FunctionReturnType<typeof api.follow>;

const address = new URLSearchParams(location.search).get("convex") ?? "http://127.0.0.1:3210";
const convex = new ConvexClient(address);

let chosen: string | null = null;
let unfollow: (() => void) | null = null;
let shown: Recent = [];

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found as T;
}

function choose(run: string): void {
  chosen = run;
  unfollow?.();
  unfollow = convex.onUpdate(api.follow, { run }, showRun);
  showOrders(shown);
}

function cell(text: string, name = ""): HTMLElement {
  const made = document.createElement("td");
  made.textContent = text;
  made.className = name;
  return made;
}

function showOrders(found: Recent): void {
  shown = found;
  element("orders").replaceChildren(
    ...found.map(({ item, total, run, status }) => {
      const row = document.createElement("tr");
      row.append(cell(item), cell(total.toFixed(2)), cell(status ?? "gone", status ?? ""));
      row.ariaSelected = String(run === chosen);
      row.onclick = () => choose(run);
      return row;
    }),
  );
}

function showRun({ details, steps }: Follow): void {
  element("run").hidden = details === null;
  if (details === null) return;
  const ended = details.endedAt !== undefined;
  const waits = details.waits.map(({ kind, name }) => `${kind} ${name}`).join(", ");
  element("title").textContent = details.id;
  element("status").className = details.status;
  element("status").textContent = [details.status, waits, details.error, details.result]
    .filter((part) => part !== undefined && part !== "")
    .join(" · ");
  element("steps").replaceChildren(
    ...steps.map(({ event, name, value, error, at }) => {
      const line = document.createElement("li");
      const time = new Date(at * 1000).toLocaleTimeString();
      line.textContent = `${time} ${event.replaceAll("_", " ")}: ${name} ${error ?? JSON.stringify(value ?? "")}`;
      return line;
    }),
  );
  const asked = details.waits.some(({ kind, name }) => kind === "signal" && name === "approved");
  element<HTMLButtonElement>("approve").disabled = !asked;
  element<HTMLButtonElement>("refuse").disabled = !asked;
  element<HTMLButtonElement>("cancel").disabled = ended;
}

element<HTMLFormElement>("place").onsubmit = (event) => {
  event.preventDefault();
  const form = new FormData(event.target as HTMLFormElement);
  void convex.mutation(api.place, { item: String(form.get("item")), total: Number(form.get("total")) }).then(choose);
};
for (const [button, approved] of [
  ["approve", true],
  ["refuse", false],
] as const) {
  element(button).onclick = () => chosen !== null && void convex.mutation(api.decide, { run: chosen, approved });
}
element("cancel").onclick = () => chosen !== null && void convex.mutation(api.cancel, { run: chosen });
convex.onUpdate(api.recent, {}, showOrders);
