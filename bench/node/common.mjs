// What the peers share: rows from Postgres in batches, and a streaming upload to S3.
// Every peer streams with back pressure and keeps a bounded number of rows in memory.

import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { PassThrough } from "node:stream";

import { S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import pg from "pg";
import Cursor from "pg-cursor";

const BATCH_ROWS = 2000;
const TIMESTAMPTZ = 1184;

export const job = JSON.parse(readFileSync(process.argv[2], "utf8"));

// Batches of rows, as arrays unless asked otherwise; the next is on its way while one is written.
export async function* batches({ dates, rowMode = "array" }) {
  if (!dates) pg.types.setTypeParser(TIMESTAMPTZ, (text) => text);
  const client = new pg.Client({ connectionString: job.database_url });
  await client.connect();
  await client.query("SET TIME ZONE 'Africa/Nairobi'");
  const cursor = client.query(new Cursor(job.query, [], { rowMode }));
  let next = cursor.read(BATCH_ROWS);
  for (let rows = await next; rows.length; rows = await next) {
    next = cursor.read(BATCH_ROWS);
    yield rows;
  }
  await client.end();
}

// A writable stream whose bytes become the object while they are written.
export function upload(contentType) {
  const output = new PassThrough({ highWaterMark: 1 << 20 });
  let bytes = 0;
  output.on("data", (chunk) => (bytes += chunk.length));
  output.pause();
  const client = new S3Client({
    endpoint: job.s3.endpoint,
    region: job.s3.region,
    credentials: { accessKeyId: job.s3.access_key_id, secretAccessKey: job.s3.secret_access_key },
    forcePathStyle: true,
    requestChecksumCalculation: "WHEN_REQUIRED",
  });
  const params = { Bucket: job.bucket, Key: job.key, Body: output, ContentType: contentType };
  const done = new Upload({ client, params, partSize: 8 << 20, queueSize: 2 }).done();
  done.catch((error) => output.destroy(error));
  return { output, finished: () => done.then(() => bytes) };
}

export async function drained(stream) {
  if (stream.writableNeedDrain) await once(stream, "drain");
}

export function money(minor) {
  return (Number(minor) / 100).toFixed(2);
}

export async function report(work) {
  const began = Date.now() / 1000;
  const result = await work();
  // Not resourceUsage().maxRSS: that begins with the memory of the process that started this one.
  const [, peak] = readFileSync("/proc/self/status", "utf8").match(/VmHWM:\s+(\d+)/);
  const intervals = [["render", began, Date.now() / 1000]];
  writeFileSync(job.report, JSON.stringify({ began, intervals, peak_bytes: peak * 1024, result }));
}
