/** The scenarios, for tests in TypeScript. */
type Scenarios = Record<string, (stage: Record<string, unknown>) => Promise<void>>;
export declare const scenarios: Scenarios;
export declare const scenariosOf5: Scenarios;
export declare const allScenarios: Scenarios;
export declare function play(all: Scenarios, stage: Record<string, unknown>): Promise<Record<string, string>>;
