// XLSX with exceljs' streaming writer, streamed to S3. Nothing in exceljs says when its archive
// falls behind; the wait for the next batch gives it its turns.

import ExcelJS from "exceljs";

import { batches, drained, job, report, upload } from "./common.mjs";

await report(async () => {
  const { output, finished } = upload(
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  );
  const book = new ExcelJS.stream.xlsx.WorkbookWriter({
    stream: output,
    useStyles: true,
    useSharedStrings: false,
  });
  const sheet = book.addWorksheet("Data", { views: [{ state: "frozen", ySplit: 1 }] });
  sheet.columns = job.headers.map((header, at) => {
    const column = { header, width: 20 };
    if (at === job.money) column.style = { numFmt: "#,##0.00" };
    if (job.instants.includes(at)) column.style = { numFmt: "yyyy-mm-dd hh:mm:ss" };
    return column;
  });
  sheet.getRow(1).font = { bold: true };
  sheet.getRow(1).commit();
  sheet.autoFilter = { from: { row: 1, column: 1 }, to: { row: 1, column: job.headers.length } };
  let rows = 0;
  for await (const batch of batches({ dates: true })) {
    for (const row of batch) {
      row[job.money] = Number(row[job.money]) / 100;
      for (const at of job.integers) row[at] = Number(row[at]);
      sheet.addRow(row).commit();
    }
    rows += batch.length;
    await drained(output);
  }
  sheet.commit();
  await book.commit();
  return { rows, bytes: await finished() };
});
