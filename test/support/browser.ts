/**
 * A real headless Chromium at the dashboard. Whatever a page complains of, and each request that it sends to anybody
 * but its own broker, is kept; pictures lie in a temporary folder, whose name is told at the end.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";

/** How a page is looked at. */
export interface Look {
  readonly width?: number;
  readonly height?: number;
  readonly dark?: boolean;
}

export interface Visit {
  readonly page: Page;
  /** Errors of the program, complaints of the browser, and requests to others. */
  readonly complaints: readonly string[];
  /** Keeps a picture of all of the page. */
  picture(name: string): Promise<void>;
}

export const desk: Look = { width: 1280, height: 800 };
export const phone: Look = { width: 390, height: 844 };

/** Waits for so long for something to appear, in ms: the machine may be busy. */
const patienceMs = 20_000;

export class TestBrowser {
  readonly #browser: Browser;
  readonly folder = mkdtempSync(join(tmpdir(), "mqttzoo-pictures-"));

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<TestBrowser> {
    const executablePath = Bun.which("chromium") ?? Bun.which("chromium-browser");
    if (executablePath === null) throw new Error("no chromium: install it (on Debian: apt-get install chromium)");
    return new TestBrowser(await chromium.launch({ executablePath, args: ["--no-sandbox"] }));
  }

  /** Opens a page in a window of its own, which knows nothing of the others. */
  async visit(url: string, { width = 1280, height = 800, dark = false }: Look = desk): Promise<Visit> {
    const context = await this.#browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? "dark" : "light",
      reducedMotion: "reduce",
    });
    const page = await context.newPage();
    page.setDefaultTimeout(patienceMs);
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      // That a request was refused is said by the page, too.
      const isOfRequest = message.text().startsWith("Failed to load resource");
      if (message.type() === "error" && !isOfRequest) complaints.push(message.text());
    });
    page.on("request", (request) => {
      if (new URL(request.url()).origin !== new URL(url).origin) complaints.push(`asked ${request.url()}`);
    });
    await page.goto(url);
    const picture = async (name: string): Promise<void> => {
      const look = `${width < 600 ? "phone" : "desk"}-${dark ? "dark" : "light"}`;
      await page.screenshot({ path: join(this.folder, `${name}-${look}.png`), fullPage: true });
    };
    return { page, complaints, picture };
  }

  async stop(): Promise<void> {
    await this.#browser.close();
    console.log(`pictures of the dashboard: ${this.folder}`);
  }
}
