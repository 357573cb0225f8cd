// CSV at csv-writer's best: arrays instead of records, made into text a batch at a time and streamed
// to S3, with no file in between.

import { createArrayCsvStringifier } from "csv-writer";

import { batches, drained, job, money, report, upload } from "./common.mjs";

await report(async () => {
  const { output, finished } = upload("text/csv; charset=utf-8");
  const stringifier = createArrayCsvStringifier({ header: job.headers, recordDelimiter: "\r\n" });
  output.write(stringifier.getHeaderString());
  let rows = 0;
  for await (const batch of batches({ dates: false })) {
    for (const row of batch) row[job.money] = money(row[job.money]);
    output.write(stringifier.stringifyRecords(batch));
    rows += batch.length;
    await drained(output);
  }
  output.end();
  return { rows, bytes: await finished() };
});
