-- A release and a slug never change; a release's status moves only out of pending, and from succeeded to expired.
CREATE TRIGGER releases_immutable BEFORE UPDATE ON releases
WHEN NEW.id <> OLD.id OR NEW.app_id <> OLD.app_id OR NEW.version <> OLD.version OR NEW.description <> OLD.description
  OR NEW.user_id <> OLD.user_id OR NEW.config_id <> OLD.config_id OR NEW.slug_id IS NOT OLD.slug_id OR NEW.build_id IS NOT OLD.build_id
  OR NEW.created_at <> OLD.created_at OR NEW.output_id IS NOT OLD.output_id
  OR NOT (OLD.status = 'pending' OR (OLD.status = 'succeeded' AND NEW.status = 'expired'))
BEGIN
    SELECT RAISE(ABORT, 'releases are immutable');
END;
CREATE TRIGGER slugs_immutable BEFORE UPDATE ON slugs
BEGIN
    SELECT RAISE(ABORT, 'slugs are immutable');
END;
CREATE TRIGGER configs_immutable BEFORE UPDATE ON configs
BEGIN
    SELECT RAISE(ABORT, 'configs are immutable');
END;
CREATE TRIGGER builds_immutable BEFORE UPDATE ON builds WHEN OLD.status <> 'pending'
BEGIN
    SELECT RAISE(ABORT, 'finished builds are immutable');
END;
