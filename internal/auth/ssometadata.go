package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/store"
)

// RefreshSSO reads the metadata of a connection anew, from where they are.
//
// Codes: InvalidInput, SSONotFound, MetadataFailed, EntityMismatch. Events:
// SSOUpdated, if they are others.
func (s *Service) RefreshSSO(ctx context.Context, c Caller, ref string) (*SSOConnection, error) {
	conn, err := s.SSO(ctx, ref)
	if err != nil {
		return nil, err
	}
	if conn.MetadataURL == "" {
		return nil, Invalid("metadata_url", "The connection has none")
	}
	return s.refreshSSO(ctx, c, conn)
}

func (s *Service) refreshSSO(ctx context.Context, c Caller, was *SSOConnection) (*SSOConnection, error) {
	md, err := s.fetchMetadata(ctx, nil, was.MetadataURL)
	if err != nil {
		return nil, err
	}
	if md.EntityID != was.EntityID {
		return nil, fail(EntityMismatch)
	}
	var conn SSOConnection
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		conn, err = s.heldSSO(tx, was.ID.String())
		if err != nil || conn.MetadataURL != was.MetadataURL || conn.RefreshedAt.After(was.RefreshedAt) {
			return err // an administrator, or another node, was quicker
		}
		changed := !bytes.Equal(conn.MetadataXML, md.XML)
		conn.MetadataXML, conn.ValidUntil, conn.RefreshedAt = md.XML, md.ValidUntil, tx.Now
		err = s.writeSSORow(tx, &conn, false)
		if err == nil && changed {
			err = s.emit(tx, c, SSOUpdated, UserID{}, SessionID{}, map[string]any{"connection": conn.ID.String(), "changed": []string{"metadata"}})
		}
		return err
	})
	if err != nil {
		return nil, noSSO(err)
	}
	return &conn, nil
}

// RefreshSSOMetadata reads the metadata anew of each connection whose have not
// been read for a day, or for half the time they are good for, and returns how
// many it read. What cannot be read, or is of another provider, leaves those of
// before as they are. It is for a job, about each hour; a node that comes second finds them
// fresh.
//
// Events: SSOUpdated.
func (s *Service) RefreshSSOMetadata(ctx context.Context) (n int, err error) {
	if s.policy.SAMLDisabled || s.readIdP == nil {
		return 0, nil
	}
	list, err := s.SSOConnections(ctx)
	if err != nil {
		return 0, err
	}
	for i := range list {
		conn := &list[i]
		if conn.Disabled || conn.MetadataURL == "" || !conn.stale(s.db.Now()) {
			continue
		}
		_, err = s.refreshSSO(ctx, Caller{Actor: "system"}, conn)
		switch {
		case ctx.Err() != nil:
			return n, ctx.Err()
		case err != nil:
			s.log.Warn("the metadata of an identity provider could not be read anew; those of before stay", "tenant", s.tenant, "connection", conn.ID, "read", conn.RefreshedAt, "err", err)
		default:
			n++
		}
	}
	return n, nil
}

// stale tells whether the metadata are to be read again.
func (c *SSOConnection) stale(now time.Time) bool {
	age := metadataLives
	if !c.ValidUntil.IsZero() {
		age = min(age, c.ValidUntil.Sub(c.RefreshedAt)/2)
	}
	return now.Sub(c.RefreshedAt) >= age
}

// readMetadata reads what an administrator gives, or where they say it is; nil:
// neither.
//
// Codes: InvalidInput, MetadataFailed.
func (s *Service) readMetadata(ctx context.Context, ch SSOChanges) (*IdPMetadata, error) {
	var xml, url string
	put(&xml, ch.MetadataXML)
	put(&url, ch.MetadataURL)
	switch {
	case xml == "" && url == "":
		return nil, nil
	case xml != "" && url != "":
		return nil, Invalid("metadata_url", "A connection has metadata, or an address where they are, and not both")
	case len(xml) > maxMetadataSize:
		return nil, Invalid("metadata_xml", fmt.Sprintf("Metadata have at most %d bytes", maxMetadataSize))
	case url != "":
		err := s.checkOutside("metadata_url", url)
		if err != nil {
			return nil, err
		}
		return s.fetchMetadata(ctx, nil, url)
	}
	return s.fetchMetadata(ctx, []byte(xml), "")
}

// fetchMetadata is never called inside a transaction: it may ask another server.
//
// Codes: SAMLDisabled, MetadataFailed.
func (s *Service) fetchMetadata(ctx context.Context, xml []byte, url string) (*IdPMetadata, error) {
	if s.readIdP == nil {
		return nil, fail(SAMLDisabled)
	}
	md, err := s.readIdP(ctx, xml, url)
	var told *Error
	switch {
	case errors.As(err, &told):
		return nil, err
	case err != nil:
		return nil, &Error{Code: MetadataFailed, Params: map[string]any{"problem": "The metadata could not be read"}, Err: err}
	case len(md.EntityID) > maxIssuer:
		return nil, &Error{Code: MetadataFailed, Params: map[string]any{"problem": fmt.Sprintf("The entity id has more than %d bytes", maxIssuer)}}
	case md.EntityID == "" || len(md.XML) == 0 || len(md.XML) > maxMetadataSize:
		return nil, &Error{Code: MetadataFailed, Params: map[string]any{"problem": "The metadata are not those of an identity provider"}}
	case !md.ValidUntil.IsZero() && !md.ValidUntil.After(s.db.Now()):
		return nil, &Error{Code: MetadataFailed, Params: map[string]any{"problem": "The metadata are not valid any more"}}
	}
	return &md, nil
}
