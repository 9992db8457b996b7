"""What a superuser has left in the live database."""

SUPERUSERS = """
CREATE FUNCTION public.sudo() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
CREATE VIEW public.secrets AS SELECT rolname FROM pg_catalog.pg_authid;
CREATE TABLE public.log (a int);
GRANT SELECT ON public.secrets, public.log TO "{app}";
"""
