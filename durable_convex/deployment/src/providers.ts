/** Whom `auth.config.ts` trusts, with the environment as it is now. */
import type { Provider } from "./auth.ts";
import type { Component } from "./components.ts";
import type { Environment } from "./environment.ts";

const MODULE = "auth.config";

/** Returns a function that tells the providers; the module is evaluated again when a variable has changed. */
export function providersOf(app: Component, environment: Environment): () => readonly Provider[] {
  if (!app.code.has(MODULE)) return () => [];
  let evaluated: { variables: string; providers: readonly Provider[] } | null = null;
  return () => {
    const variables = JSON.stringify(environment.all());
    if (evaluated?.variables !== variables) evaluated = { variables, providers: evaluate(app, environment) };
    return evaluated.providers;
  };
}

function evaluate(app: Component, environment: Environment): readonly Provider[] {
  return app.code.configuration(
    MODULE,
    (name) => environment.get(app, name, null),
    ({ default: config }) => (config as { providers: Provider[] }).providers,
  );
}
