/**
 * Lets xterm.js style itself under a content security policy without 'unsafe-inline'.
 *
 * It writes rules into <style> elements and colours into style attributes, both of which such a policy blocks. The
 * same rules in a constructed sheet, and the same declarations set through the element's style object, are script's
 * own doing, and script is what the policy already trusts. Import this before xterm.
 */

const create = document.createElement.bind(document);
const setAttribute = Element.prototype.setAttribute;

document.createElement = ((tag: string, options?: ElementCreationOptions) =>
  tag.toLowerCase() === "style" ? styleStandIn() : create(tag, options)) as typeof document.createElement;

Element.prototype.setAttribute = function (this: Element, name: string, value: string): void {
  if (name === "style" && this instanceof HTMLElement) this.style.cssText = value;
  else setAttribute.call(this, name, value);
};

/** An element that shows nothing; its text goes into a sheet that lives as long as the element is in use. */
function styleStandIn(): HTMLElement {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  const element = create("template");
  let text = "";
  Object.defineProperty(element, "textContent", {
    get: () => text,
    set: (rules: string) => {
      text = rules;
      sheet.replaceSync(rules);
    },
  });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    HTMLElement.prototype.remove.call(element);
  };
  return element;
}
