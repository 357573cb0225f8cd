// CSV as csv-writer's documentation shows it: records into a file, which is then uploaded.

import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";

import { createObjectCsvWriter } from "csv-writer";

import { batches, job, money, report, upload } from "./common.mjs";

await report(async () => {
  const path = `${job.report}.csv`;
  const header = job.columns.map((id, at) => ({ id, title: job.headers[at] }));
  const writer = createObjectCsvWriter({ path, header, recordDelimiter: "\r\n" });
  const charged = job.columns[job.money];
  let rows = 0;
  try {
    for await (const batch of batches({ dates: false, rowMode: "object" })) {
      for (const row of batch) row[charged] = money(row[charged]);
      await writer.writeRecords(batch);
      rows += batch.length;
    }
    const { output, finished } = upload("text/csv; charset=utf-8");
    createReadStream(path, { highWaterMark: 1 << 20 }).pipe(output);
    return { rows, bytes: await finished() };
  } finally {
    await rm(path, { force: true });
  }
});
