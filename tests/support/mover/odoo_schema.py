"""The tables of Odoo that act on the world, with a row in each that is on: what a copy of production has."""

#: Column types as in Odoo's own tables.
TABLES = """
CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar NOT NULL UNIQUE, value text);
CREATE TABLE ir_model_data (id serial PRIMARY KEY, module varchar, name varchar, model varchar, res_id int);
CREATE TABLE ir_mail_server (id serial PRIMARY KEY, name varchar, smtp_host varchar, smtp_port int, active boolean);
CREATE TABLE fetchmail_server (id serial PRIMARY KEY, name varchar, active boolean);
CREATE TABLE ir_cron (id serial PRIMARY KEY, cron_name varchar, active boolean);
CREATE TABLE payment_provider (id serial PRIMARY KEY, code varchar, state varchar);
CREATE TABLE iap_account (id serial PRIMARY KEY, account_token varchar);
CREATE TABLE account_online_link (id serial PRIMARY KEY, client_id varchar);
CREATE TABLE delivery_carrier (id serial PRIMARY KEY, delivery_type varchar, prod_environment boolean, active boolean);
INSERT INTO ir_config_parameter (key, value) VALUES ('database.uuid', 'uuid-of-production'), ('database.secret', 'secret-of-production'),
  ('web.base.url', 'https://shop.example.com'), ('web.base.url.freeze', 'True');
INSERT INTO ir_mail_server (name, smtp_host, smtp_port, active) VALUES ('mail of production', 'mail.example.com', 25, true);
INSERT INTO fetchmail_server (name, active) VALUES ('inbox of production', true);
INSERT INTO ir_cron (cron_name, active) VALUES ('autovacuum', true), ('send invoices', true);
INSERT INTO ir_model_data (module, name, model, res_id) VALUES ('base', 'autovacuum_job', 'ir.cron', 1);
INSERT INTO payment_provider (code, state) VALUES ('stripe', 'enabled'), ('demo', 'test');
INSERT INTO iap_account (account_token) VALUES ('token-of-production');
INSERT INTO account_online_link (client_id) VALUES ('bank-of-production');
INSERT INTO delivery_carrier (delivery_type, prod_environment, active) VALUES ('ups', true, true);
"""

#: Switches all of it off, as Odoo's own neutralisation does.
NEUTRALISE = """
UPDATE ir_mail_server SET active = false;
INSERT INTO ir_mail_server (name, smtp_host, smtp_port, active) VALUES ('sink', 'invalid', 1025, true);
UPDATE fetchmail_server SET active = false;
UPDATE ir_cron SET active = false WHERE id NOT IN (SELECT res_id FROM ir_model_data WHERE model = 'ir.cron' AND name = 'autovacuum_job');
UPDATE payment_provider SET state = 'disabled' WHERE state = 'enabled';
UPDATE iap_account SET account_token = regexp_replace(account_token, '(\\+.*)?$', '+disabled');
UPDATE account_online_link SET client_id = 'duplicate';
UPDATE delivery_carrier SET prod_environment = false;
INSERT INTO ir_config_parameter (key, value) VALUES ('database.is_neutralized', 'true') ON CONFLICT (key) DO UPDATE SET value = 'true';
"""
