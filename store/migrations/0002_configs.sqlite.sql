-- Config vars never change, but they may be forgotten ('') once no release that could run has them.
DROP TRIGGER configs_immutable;
CREATE TRIGGER configs_immutable BEFORE UPDATE ON configs
WHEN NEW.id <> OLD.id OR NEW.app_id <> OLD.app_id OR NEW.created_at <> OLD.created_at OR NEW.sealed <> ''
  OR EXISTS (SELECT 1 FROM releases r WHERE r.config_id = OLD.id AND r.status IN ('pending', 'succeeded'))
BEGIN
    SELECT RAISE(ABORT, 'configs are immutable');
END;
