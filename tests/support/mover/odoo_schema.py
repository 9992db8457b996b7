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
CREATE TABLE ir_module_module (id serial PRIMARY KEY, name varchar, latest_version varchar);
CREATE TABLE mail_mail (id serial PRIMARY KEY, state varchar);
CREATE TABLE sms_sms (id serial PRIMARY KEY, state varchar);
CREATE TABLE queue_job (id serial PRIMARY KEY, state varchar);
CREATE TABLE ir_act_server (id serial PRIMARY KEY, state varchar, webhook_url varchar);
CREATE TABLE auth_oauth_provider (id serial PRIMARY KEY, name varchar, enabled boolean, client_secret varchar);
CREATE TABLE auth_passkey_key (id serial PRIMARY KEY, name varchar);
CREATE TABLE social_account (id serial PRIMARY KEY, name varchar, is_media_disconnected boolean);
CREATE TABLE res_company (id serial PRIMARY KEY, sms_twilio_auth_token varchar);
INSERT INTO ir_module_module (name, latest_version) VALUES ('base', '19.0.1.3');
INSERT INTO mail_mail (state) VALUES ('outgoing'), ('sent');
INSERT INTO sms_sms (state) VALUES ('outgoing'), ('sent');
INSERT INTO queue_job (state) VALUES ('pending'), ('done');
INSERT INTO ir_act_server (state, webhook_url)
  VALUES ('webhook', 'https://hooks.example.com/secret-path'), ('code', NULL);
INSERT INTO auth_oauth_provider (name, enabled, client_secret) VALUES ('login of production', true, 'secret-of-oauth');
INSERT INTO auth_passkey_key (name) VALUES ('key of an administrator');
INSERT INTO social_account (name, is_media_disconnected) VALUES ('page of production', false);
INSERT INTO res_company (sms_twilio_auth_token) VALUES ('token-of-sms');
INSERT INTO ir_config_parameter (key, value) VALUES
  ('database.uuid', 'uuid-of-production'), ('database.secret', 'secret-of-production'),
  ('web.base.url', 'https://shop.example.com'), ('web.base.url.freeze', 'True');
INSERT INTO ir_mail_server (name, smtp_host, smtp_port, active)
  VALUES ('mail of production', 'mail.example.com', 25, true);
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
UPDATE mail_mail SET state = 'cancel' WHERE state = 'outgoing';
UPDATE sms_sms SET state = 'canceled' WHERE state = 'outgoing';
UPDATE queue_job SET state = 'cancelled' WHERE state IN ('wait_dependencies', 'pending', 'enqueued', 'started');
UPDATE ir_act_server SET webhook_url = 'neutralization - disable webhook' WHERE state = 'webhook';
UPDATE auth_oauth_provider SET enabled = false, client_secret = NULL;
DELETE FROM auth_passkey_key;
UPDATE social_account SET is_media_disconnected = true;
UPDATE res_company SET sms_twilio_auth_token = NULL;
UPDATE ir_cron SET active = false
  WHERE id NOT IN (SELECT res_id FROM ir_model_data WHERE model = 'ir.cron' AND name = 'autovacuum_job');
UPDATE payment_provider SET state = 'disabled' WHERE state = 'enabled';
UPDATE iap_account SET account_token = regexp_replace(account_token, '(\\+.*)?$', '+disabled');
UPDATE account_online_link SET client_id = 'duplicate';
UPDATE delivery_carrier SET prod_environment = false;
INSERT INTO ir_config_parameter (key, value) VALUES ('database.is_neutralized', 'true')
  ON CONFLICT (key) DO UPDATE SET value = 'true';
"""
