-- A release and a slug never change; a release's status moves only out of pending, and from succeeded to expired.
CREATE FUNCTION landfall_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% are immutable', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER releases_immutable BEFORE UPDATE ON releases FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.app_id <> OLD.app_id OR NEW.version <> OLD.version OR NEW.description <> OLD.description
  OR NEW.user_id <> OLD.user_id OR NEW.config_id <> OLD.config_id OR NEW.slug_id IS DISTINCT FROM OLD.slug_id
  OR NEW.build_id IS DISTINCT FROM OLD.build_id OR NEW.created_at <> OLD.created_at OR NEW.output_id IS DISTINCT FROM OLD.output_id
  OR NOT (OLD.status = 'pending' OR (OLD.status = 'succeeded' AND NEW.status = 'expired')))
EXECUTE FUNCTION landfall_immutable();
CREATE TRIGGER slugs_immutable BEFORE UPDATE ON slugs FOR EACH ROW EXECUTE FUNCTION landfall_immutable();
CREATE TRIGGER configs_immutable BEFORE UPDATE ON configs FOR EACH ROW EXECUTE FUNCTION landfall_immutable();
CREATE TRIGGER builds_immutable BEFORE UPDATE ON builds FOR EACH ROW WHEN (OLD.status <> 'pending') EXECUTE FUNCTION landfall_immutable();
