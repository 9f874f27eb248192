// node look.mjs BASE STUDY_UID SERIES_UID PREFIX
// Opens one SR series in OHIF as a reader does (double click in the study browser; "Yes" where it offers to hydrate), takes
// PREFIX_sr.png and, where it hydrates, PREFIX_hydrated.png, and prints one line of JSON of what could be seen.
import { chromium } from 'playwright-core';

const [base, study, series, prefix] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium', headless: true,
  args: ['--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run', '--disable-dev-shm-usage', '--disable-quic'],
});
const context = await browser.newContext({ viewport: { width: 1600, height: 950 }, serviceWorkers: 'block' });
await context.addInitScript(() => { try { localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour'])); } catch { /* private mode */ } });
await context.route('**/*', route => {
  const url = new URL(route.request().url());
  return !/^https?:$/.test(url.protocol) || url.hostname === '127.0.0.1' ? route.continue() : route.abort();
});
const page = await context.newPage();
const errors = [];
page.on('pageerror', error => errors.push(error.message.slice(0, 200)));
await page.goto(`${base}/viewer?StudyInstanceUIDs=${study}`, { waitUntil: 'domcontentloaded' });
await page.waitForFunction(uid => window.services?.displaySetService?.getActiveDisplaySets?.().some(d => d.SeriesInstanceUID === uid), series, { timeout: 90000 });
await page.waitForFunction(() => window.cornerstone?.getRenderingEngines?.().some(e => e.getViewports().some(v => v.getImageIds?.().length)), null, { timeout: 90000 }).catch(() => {});
await page.waitForTimeout(2500);
const id = await page.evaluate(uid => window.services.displaySetService.getActiveDisplaySets().find(d => d.SeriesInstanceUID === uid).displaySetInstanceUID, series);
const thumbnail = page.locator(`[id="thumbnail-${id}"]`);
await thumbnail.scrollIntoViewIfNeeded();
await thumbnail.dblclick();
await page.waitForFunction(() => document.querySelector('.svg-layer text') || [...document.querySelectorAll('.font-bold')].some(e => /^1\.\s/.test(e.innerText)), null, { timeout: 25000 }).catch(() => {});
await page.waitForTimeout(2000);
const seen = () => page.evaluate(uid => ({
  isLoaded: window.services.displaySetService.getActiveDisplaySets().find(d => d.SeriesInstanceUID === uid)?.isLoaded ?? null,
  tracked: window.services.measurementService.getMeasurements().map(m => ({ tool: m.toolName ?? m.type, label: m.label ?? null })),
  overlay: [...document.querySelectorAll('.svg-layer text')].map(t => t.textContent),
  shapes: document.querySelectorAll('.svg-layer line, .svg-layer polyline, .svg-layer path').length,
  text: (document.querySelector('[data-cy="viewport-grid"]') ?? document.body).innerText.slice(0, 8000),
}), series);
const result = { sr: await seen(), prompt: false, errors };
await page.screenshot({ path: `${prefix}_sr.png` });
const yes = page.locator('[data-cy="yes-hydrate"], #yes-hydrate, button:has-text("Yes")').first();
if (await yes.isVisible().catch(() => false)) {
  result.prompt = true;
  await yes.click();
  await page.waitForFunction(() => window.services.measurementService.getMeasurements().length > 0, null, { timeout: 10000 }).catch(() => {});
  await page.waitForTimeout(2000);
  result.hydrated = await seen();
  await page.screenshot({ path: `${prefix}_hydrated.png` });
}
console.log(JSON.stringify(result));
await browser.close();
