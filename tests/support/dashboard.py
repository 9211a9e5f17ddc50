"""What tests of the dashboard ask of every page: no complaint, nothing that overlaps or sticks out, nothing that axe finds serious."""

from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request, Response, expect

PATHS = {
    "overview": "/",
    "devices": "/devices",
    "device": "/devices/{serial}",
    "alarms": "/alarms",
    "notifications": "/notifications",
    "dead-letters": "/dead-letters",
    "pipeline": "/pipeline",
}
PHONE = {"width": 400, "height": 850}
DESKTOP = {"width": 1440, "height": 900}
WIDE = {"width": 2560, "height": 1300}


@dataclass
class Complaints:
    """What a browser has to say of a page: errors on its console, exceptions, requests that failed or were answered with an error."""

    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> Page:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"exception: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.found.append(f"console: {message.text} {message.location.get('url', '')}")

    def _failed(self, request: Request) -> None:
        # A page that is left gives up what it has asked for.
        if request.failure != "net::ERR_ABORTED":
            self.found.append(f"failed: {request.url} {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.found.append(f"{response.status}: {response.url}")


async def opened(context: BrowserContext, complaints: Complaints, url: str) -> Page:
    """A new page that has shown what it was asked for."""
    page = complaints.watch(await context.new_page())
    await page.goto(url)
    await settled(page)
    return page


async def settled(page: Page) -> None:
    """Return when nothing of the page is loading any more, and it is live."""
    await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    await expect(page.locator("main h1")).to_be_visible()
    await expect(page.locator("main .loading")).to_have_count(0)


async def misplaced(page: Page) -> list[str]:
    """Texts and controls that overlap each other or stick out of the window, measured by their boxes as far as they can be seen."""
    found: list[str] = await page.evaluate(_MEASURE)
    return found


async def serious_findings(page: Page) -> list[str]:
    """What axe-core finds serious or critical."""
    results = await Axe().run(page)
    violations: list[dict[str, Any]] = results.response["violations"]
    return [
        f"{each['id']}: {each['help']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for each in violations
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]


_MEASURE = """() => {
  const found = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`the page is ${wide} wide, the window ${innerWidth}`);
  const boxes = [];
  const visible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !element.closest('.sr, .skip, .u-wrap, dialog:not([open])');
  // What is scrolled or cut away is not seen.
  const clipped = (rect, element) => {
    let { left, top, right, bottom } = rect;
    for (let each = element; each && each !== document.body; each = each.parentElement) {
      const style = getComputedStyle(each);
      if (style.overflowX === 'visible' && style.overflowY === 'visible') continue;
      const outer = each.getBoundingClientRect();
      left = Math.max(left, outer.left); right = Math.min(right, outer.right);
      top = Math.max(top, outer.top); bottom = Math.min(bottom, outer.bottom);
    }
    return { left, top, right, bottom };
  };
  const add = (element, rect, what) => {
    const seen = clipped(rect, element);
    if (seen.right - seen.left > 1 && seen.bottom - seen.top > 1) boxes.push({ element, what, ...seen });
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.parentElement;
    if (!node.data.trim() || !element || !visible(element) || ['SCRIPT', 'NOSCRIPT', 'OPTION', 'TITLE'].includes(element.tagName)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) add(element, rect, `"${node.data.trim().slice(0, 40)}"`);
  }
  for (const element of document.querySelectorAll('button, input, select, textarea, .badge, [role=img]')) {
    if (visible(element)) add(element, element.getBoundingClientRect(), `<${element.tagName.toLowerCase()} class="${element.getAttribute('class') ?? ''}">`);
  }
  for (const each of boxes) if (each.right > innerWidth + 1 || each.left < -1) found.push(`${each.what} sticks out: ${each.left.toFixed()} to ${each.right.toFixed()}`);
  boxes.sort((one, two) => one.top - two.top);
  boxes.forEach((one, at) => {
    for (let next = at + 1; next < boxes.length && boxes[next].top < one.bottom; next += 1) {
      const two = boxes[next];
      if (one.element.contains(two.element) || two.element.contains(one.element)) continue;
      const across = Math.min(one.right, two.right) - Math.max(one.left, two.left);
      const down = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
      // Lines of text stand closer than their letters are high.
      if (across > 2 && down > 5) found.push(`${one.what} and ${two.what} overlap by ${across.toFixed()} x ${down.toFixed()}`);
    }
  });
  return found;
}"""
