// A central system on ocpp-rpc in strict mode: every message validated, one INSERT through a pool, then the answer.
const { RPCServer } = require("ocpp-rpc");
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
const server = new RPCServer({ protocols: ["ocpp1.6"], strictMode: true, pingIntervalMs: 60000 });

server.auth((accept) => accept({}));
server.on("client", (client) => {
  client.handle("StartTransaction", async ({ params }) => {
    const text = "INSERT INTO starts (charger, id_tag, meter_start, at) VALUES ($1, $2, $3, $4) RETURNING id";
    const found = await pool.query(text, [client.identity, params.idTag, params.meterStart, params.timestamp]);
    return { transactionId: found.rows[0].id, idTagInfo: { status: "Accepted" } };
  });
  client.handle("MeterValues", async ({ params }) => {
    await pool.query("INSERT INTO readings (charger, transaction_id, connector, at, samples) VALUES ($1, $2, $3, $4, $5)", [
      client.identity,
      params.transactionId,
      params.connectorId,
      params.meterValue[0].timestamp,
      JSON.stringify(params.meterValue),
    ]);
    return {};
  });
});

(async () => {
  await pool.query("CREATE TABLE starts (id serial PRIMARY KEY, charger text, id_tag text, meter_start bigint, at timestamptz)");
  await pool.query(
    "CREATE TABLE readings (id bigserial PRIMARY KEY, charger text, transaction_id bigint, connector int, at timestamptz, samples jsonb)",
  );
  await pool.query("CREATE INDEX readings_by_transaction ON readings (transaction_id, at)");
  await server.listen(Number(process.env.PORT), "127.0.0.1");
  console.log("ready");
})();
