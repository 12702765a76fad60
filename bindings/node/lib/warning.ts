/** @internal Reports what a function of the user's threw where nobody else can be told. */
export function warn(what: string, error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.emitWarning(`${what} threw: ${text}`, 'LibraftWarning');
}
