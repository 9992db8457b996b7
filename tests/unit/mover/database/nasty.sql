-- As the owner: everything that a dump and a restore got wrong somewhere.
CREATE SCHEMA "Odd; schema";
CREATE SCHEMA ext;
CREATE EXTENSION pg_trgm SCHEMA ext;
CREATE EXTENSION unaccent;
COMMENT ON EXTENSION pg_trgm IS 'trigrams; with a semicolon';
COMMENT ON SCHEMA public IS 'ours';
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s; "fine"');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE ir_attachment (id serial PRIMARY KEY, name text, store_fname text, file_size int);
CREATE TABLE "Odd; schema"."Tab""le" (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  "col;umn" text DEFAULT E'a;b''c\\d',
  twice text GENERATED ALWAYS AS ("col;umn" || "col;umn") STORED,
  feeling mood DEFAULT 'ok', n positive DEFAULT 1);
INSERT INTO "Odd; schema"."Tab""le" ("col;umn") SELECT repeat('x' || i, 20) FROM generate_series(1, 500) i;
CREATE INDEX trigrams ON "Odd; schema"."Tab""le" USING gin ("col;umn" ext.gin_trgm_ops);
CREATE TABLE parts (day date NOT NULL, v int, filler text) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2024-07-01') TO ('2025-01-01');
CREATE INDEX ON parts (v);
INSERT INTO parts SELECT date '2024-01-01' + (i % 366), i, md5(i::text)
  FROM generate_series(1, 20000) i WHERE i % 366 < 365;
CREATE VIEW summary AS SELECT day, sum(v) AS total FROM parts GROUP BY day;
CREATE MATERIALIZED VIEW summary_m AS SELECT * FROM summary;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  -- a comment; with a semicolon
  NEW.name := coalesce(NEW.name, 'GRANT ALL ON parts TO public;');
  RETURN NEW;
END $body$;
CREATE TRIGGER touch BEFORE INSERT ON ir_attachment FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION atomic(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT a + 1; END;
INSERT INTO ir_attachment (store_fname, file_size) SELECT substr(h, 1, 2) || '/' || h, 1
  FROM (SELECT encode(sha256(i::text::bytea), 'hex') AS f, substr(encode(sha256(i::text::bytea), 'hex'), 1, 40) AS h
          FROM generate_series(1, 50) i) s;
CREATE RULE no_delete AS ON DELETE TO summary DO INSTEAD NOTHING;
CREATE SEQUENCE invoice START 42;
SELECT nextval('invoice');
SELECT lo_from_bytea(4711, decode(repeat('ab', 100000), 'hex'));
COMMENT ON LARGE OBJECT 4711 IS 'a large object';
CREATE TABLE secured (id int, tenant text);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON secured USING (tenant = current_user);
INSERT INTO secured VALUES (1, 'a'), (2, 'b');
CREATE PUBLICATION pub FOR TABLE parts;
GRANT SELECT ON parts TO reader WITH GRANT OPTION;
GRANT SELECT ("col;umn") ON "Odd; schema"."Tab""le" TO reader;
GRANT USAGE ON SCHEMA "Odd; schema" TO reader;
GRANT SELECT ON ir_attachment TO vanishing;
REVOKE EXECUTE ON FUNCTION atomic(int) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reader;
