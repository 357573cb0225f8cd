// A PDF table with pdfkit, streamed to S3: cells placed one by one on a fixed grid, which is the
// fastest way pdfkit has. Pages are not buffered, so a footer says its page but not how many.

import PDFDocument from "pdfkit";

import { batches, drained, job, money, report, upload } from "./common.mjs";

const MARGIN = 36;
const PITCH = 12.5;
const SIZE = 7.5;
const FALLBACKS = [
  [/[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff]/, "arabic"],
  [/[\u1200-\u139f]/, "ethiopic"],
];

await report(async () => {
  const { output, finished } = upload("application/pdf");
  const doc = new PDFDocument({ size: [1190.55, 841.89], margin: MARGIN, autoFirstPage: false });
  for (const [name, path] of Object.entries(job.fonts)) doc.registerFont(name, path);
  doc.pipe(output);
  const width = (1190.55 - 2 * MARGIN) / job.widths.reduce((sum, share) => sum + share, 0);
  const lefts = [];
  job.widths.reduce((left, share) => (lefts.push(left), left + share * width), MARGIN);
  const place = (text, at, y) => doc.text(text, lefts[at], y, { lineBreak: false });
  let page = 0;
  let y = Infinity;
  const addPage = () => {
    doc.addPage();
    page += 1;
    doc.rect(MARGIN, MARGIN, 1190.55 - 2 * MARGIN, 16).fill("#1f3a5f");
    doc.font("bold").fontSize(SIZE).fillColor("white");
    job.headers.forEach((header, at) => place(header, at, MARGIN + 3));
    doc.font("regular").fillColor("black");
    doc.text(`Page ${page}`, 1190.55 - 2 * MARGIN, 815, { lineBreak: false });
    y = MARGIN + 20;
  };
  let rows = 0;
  for await (const batch of batches({ dates: false })) {
    for (const row of batch) {
      if (y > 841.89 - MARGIN - PITCH) addPage();
      row[job.money] = money(row[job.money]);
      row.forEach((value, at) => {
        if (value === null) return;
        const font = FALLBACKS.find(([pattern]) => pattern.test(value))?.[1];
        if (font) doc.font(font);
        place(value, at, y);
        if (font) doc.font("regular");
      });
      y += PITCH;
    }
    rows += batch.length;
    await drained(output);
  }
  doc.end();
  return { rows, bytes: await finished() };
});
