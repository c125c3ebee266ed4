-- Config vars never change, but they may be forgotten ('') once no release that could run has them.
CREATE FUNCTION landfall_configs_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.app_id <> OLD.app_id OR NEW.created_at <> OLD.created_at OR NEW.sealed <> ''
      OR EXISTS (SELECT 1 FROM releases r WHERE r.config_id = OLD.id AND r.status IN ('pending', 'succeeded')) THEN
        RAISE EXCEPTION 'configs are immutable';
    END IF;
    RETURN NEW;
END
$$;
DROP TRIGGER configs_immutable ON configs;
CREATE TRIGGER configs_immutable BEFORE UPDATE ON configs FOR EACH ROW EXECUTE FUNCTION landfall_configs_immutable();
