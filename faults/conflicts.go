package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// conflicts have the database refuse transactions as a serialization failure or
// a deadlock would: one in five, which nobody may notice, and then all of them,
// which must end soon and in words a client understands.
func conflicts() (all []scenario) {
	for _, engine := range []string{postgres, mysql} {
		all = append(all, scenario{name: "conflicts/" + engine, bound: 60 * time.Second, run: func(ctx context.Context, t *trial) error {
			return injectConflicts(ctx, t, engine)
		}})
	}
	return all
}

// On PostgreSQL the trigger is deferred: it fails the COMMIT, after every
// statement has succeeded. Each transaction has one draw, its number: the same
// for all its rows, another for the next try.
const postgresConflicts = `
CREATE TABLE faults_chance (percent INT NOT NULL);
INSERT INTO faults_chance VALUES (0);
CREATE FUNCTION faults_conflict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF abs(hashtext(pg_current_xact_id()::text)) % 100 < (SELECT percent FROM faults_chance) THEN
		RAISE EXCEPTION 'a conflict, made up' USING ERRCODE = '40001';
	END IF;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER faults_sessions AFTER INSERT OR UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION faults_conflict();
CREATE CONSTRAINT TRIGGER faults_users AFTER INSERT OR UPDATE ON users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION faults_conflict();
CREATE CONSTRAINT TRIGGER faults_events AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION faults_conflict();
`

// MySQL has no deferred triggers and no number to draw by: a trigger rolls the
// dice once for each statement, which is as long as NOW stands still, on those
// tables of which most transactions touch one.
const mysqlConflicts = `
CREATE TABLE faults_chance (percent INT NOT NULL);
INSERT INTO faults_chance VALUES (0);
CREATE PROCEDURE faults_conflict() READS SQL DATA
BEGIN
	IF COALESCE(@faults_at, '') <> CAST(NOW(6) AS CHAR) THEN
		SET @faults_at = CAST(NOW(6) AS CHAR), @faults_dice = RAND() * 100;
	END IF;
	IF @faults_dice < (SELECT percent FROM faults_chance) THEN
		SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'a deadlock, made up';
	END IF;
END;
CREATE TRIGGER faults_new_sessions BEFORE INSERT ON sessions FOR EACH ROW CALL faults_conflict();
CREATE TRIGGER faults_sessions BEFORE UPDATE ON sessions FOR EACH ROW CALL faults_conflict();
CREATE TRIGGER faults_challenges BEFORE INSERT ON challenges FOR EACH ROW CALL faults_conflict();
`

// giveUpWithin is how long a request may take that cannot succeed: the five
// seconds of a transaction and a moment.
const giveUpWithin = 7 * time.Second

func injectConflicts(ctx context.Context, t *trial, engine string) error {
	w, err := t.open(ctx, engine)
	if err != nil {
		return err
	}
	err = w.addNodes(ctx, 1)
	if err != nil {
		return err
	}
	triggers := postgresConflicts
	if engine == mysql {
		triggers = mysqlConflicts
	}
	err = w.db.server.Exec(ctx, w.db.name, triggers)
	if err != nil {
		return fmt.Errorf("triggers: %w", err)
	}
	w.callers(w.nodes[0].url())
	err = w.conflict(ctx, 20)
	if err != nil {
		return err
	}
	err = w.load.runFor(ctx, t.scaled(10*time.Second))
	if err != nil {
		return err
	}
	t.expectNoFailure("with one conflict in five", w.j.all())
	err = w.allConflict(ctx)
	if err != nil {
		return err
	}
	healed := time.Now()
	err = w.load.runFor(ctx, 2*time.Second)
	if err != nil {
		return err
	}
	t.expectNoFailure("after the last conflict", within(w.j.all(), healed, time.Now()))
	h, err := w.settle(ctx)
	if err != nil {
		return err
	}
	return w.busyEnough(h, 300)
}

// conflict sets how many transactions in a hundred fail.
func (w *world) conflict(ctx context.Context, percent int) error {
	return w.db.server.Exec(ctx, w.db.name, fmt.Sprintf("UPDATE faults_chance SET percent = %d", percent))
}

// allConflict makes every write fail: it says so, in time, and reads go on.
func (w *world) allConflict(ctx context.Context) error {
	t := w.trial
	err := w.conflict(ctx, 100)
	if err != nil {
		return err
	}
	began := time.Now()
	err = w.load.runFor(ctx, t.scaled(4*time.Second))
	if err != nil {
		return err
	}
	ops := within(w.j.all(), began, time.Now())
	slowest, refusedWrites := time.Duration(0), 0
	for i := range ops {
		o := &ops[i]
		slowest = max(slowest, o.Answered.Sub(o.Sent))
		if o.Told.Status == http.StatusServiceUnavailable {
			refusedWrites++
		}
		if o.Ask.Op == opUser && failed(o) {
			t.broke("a read failed while writes could not succeed: %d %s", o.Told.Status, o.Told.Err)
		}
	}
	t.note("with nothing but conflicts %d of %d got a 503, after at most %v", refusedWrites, len(ops), slowest.Round(time.Millisecond))
	t.expect(refusedWrites > 0, "no write failed although every transaction was refused: the conflicts are not real")
	t.expect(slowest <= giveUpWithin, "a request took %v to fail, wanted %v", slowest, giveUpWithin)
	t.expectManners(ops)
	return w.conflict(ctx, 0)
}
