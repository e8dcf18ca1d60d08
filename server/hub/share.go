package hub

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/node"
)

// Who a share is for.
const (
	AudienceAnyone = "anyone" // who has the link
	AudiencePeople = "people" // the same, signed in on this hub
	AudienceNamed  = "named"  // the named; they find it without the link, too
)

// LinksOff is what Config.Links has where nothing is shared by links.
const LinksOff = "none"

// What a copy has that somebody makes for themselves.
const (
	CopyNotebook = "notebook"
	CopyFiles    = "files" // the project's files and packages too, as they were
	CopyState    = "state" // and the kernel, with everything in its memory
)

const (
	maxShares      = 500 // of a project
	maxNamed       = 100 // of a share
	maxShareLasts  = 366 * 24 * time.Hour
	shareRate      = 20 // looks a second at one share, of all people together
	maxSharedPaces = 10_000
)

var (
	errNoShare   = fault.New(fault.NotFound, "share_not_found", "There is no link by that ID in this project.")
	errNotShared = fault.New(fault.NotFound, "not_shared", "Nothing is shared by this link. It may have been revoked or have expired, or it is for other people.")
	errShareRate = fault.Newf(fault.Exhausted, "rate_exceeded", "Too many people look at this at once; %d looks a second are answered. Try again in a moment.", shareRate)
	errLinksOff  = fault.New(fault.Denied, "links_off", "The operator of this server has turned links off.")
	errNotAnyone = fault.New(fault.Denied, "links_limited", "The operator of this server allows links for people who are signed in, not for anyone.")
	errNotOwner  = fault.New(fault.Denied, "not_owner", "Only the owner of a project may share what is in it.")
)

// ShareView is a share as its owner sees it.
type ShareView struct {
	ID             string     `json:"id"`
	Name           string     `json:"name"`
	Notebook       string     `json:"notebook"`
	Checkpoint     string     `json:"checkpoint,omitempty" doc:"shown is what this checkpoint has; none: the notebook as it is when somebody looks"`
	CheckpointName string     `json:"checkpoint_name,omitempty"`
	Audience       string     `json:"audience" enum:"anyone,people,named"`
	People         []string   `json:"people,omitempty" doc:"names"`
	Copies         string     `json:"copies" enum:"notebook,files,state" doc:"what a copy has"`
	Author         string     `json:"author"`
	CreatedAt      time.Time  `json:"created_at"`
	ExpiresAt      *time.Time `json:"expires_at" doc:"null: never"`
	Expired        bool       `json:"expired"`
	Opened         int64      `json:"opened" doc:"how often others opened it"`
	OpenedAt       *time.Time `json:"opened_at" doc:"last; null: never"`
	Secret         string     `json:"-"`
}

// ShareRequest is what an owner decides of a share.
type ShareRequest struct {
	Name       string   `json:"name,omitempty" doc:"for the list of links; the notebook's if left out"`
	Notebook   string   `json:"notebook,omitempty" doc:"its path; of a checkpoint it is the checkpoint's"`
	Checkpoint string   `json:"checkpoint,omitempty"`
	Audience   string   `json:"audience,omitempty" enum:"anyone,people,named" default:"anyone" doc:"people: who is signed in on this hub"`
	People     []string `json:"people,omitempty" maxItems:"100" doc:"names of accounts, with named"`
	Expires    int64    `json:"expires_seconds,omitempty" minimum:"0" doc:"0: never"`
	Copies     string   `json:"copies,omitempty" enum:"notebook,files,state" doc:"what a copy of a checkpoint has; files if left out. state is the kernel with everything in its memory, secrets too"`
}

// sharing is what is remembered of shares between two writings.
type sharing struct {
	mu    sync.Mutex
	opens map[string]Opens          // not on record yet
	paces map[string]*node.Spending // by share
	wrong counters                  // by address
}

// AddShare shows something to others. The link's secret is in the answer, and
// nowhere else.
func (h *Hub) AddShare(ctx context.Context, by User, p Project, in ShareRequest) (ShareView, error) {
	if p.Owner != by.ID {
		return ShareView{}, errNotOwner
	}
	if h.Links == LinksOff {
		return ShareView{}, errLinksOff
	}
	secret := Secret()
	s := Share{ID: newID(), Project: p.ID, Hash: HashSecret(secret), Notebook: strings.Trim(in.Notebook, "/"), Checkpoint: in.Checkpoint, Author: by.Name, Copies: in.Copies, CreatedAt: time.Now()}
	if err := h.decideShare(ctx, p, &s, in); err != nil {
		return ShareView{}, err
	}
	if err := h.Store.AddShare(context.WithoutCancel(ctx), s, maxShares); err != nil {
		return ShareView{}, err
	}
	v := h.shareView(ctx, s)
	v.Secret = secret
	return v, nil
}

func (h *Hub) decideShare(ctx context.Context, p Project, s *Share, in ShareRequest) (err error) {
	if err := h.shareOf(ctx, p, s); err != nil {
		return err
	}
	if in.Name == "" {
		in.Name = s.Notebook
	}
	if s.Name, err = checkName(in.Name); err != nil {
		return err
	}
	lasts := time.Duration(in.Expires) * time.Second
	switch {
	case in.Expires < 0 || in.Expires > int64(maxShareLasts/time.Second):
		return fault.New(fault.Invalid, "expiry_invalid", "A link expires after a year at the latest, or never.")
	case in.Expires > 0:
		s.ExpiresAt = s.CreatedAt.Add(lasts)
	}
	switch s.Audience = in.Audience; s.Audience {
	case "":
		s.Audience = AudienceAnyone
	case AudienceAnyone, AudiencePeople:
	case AudienceNamed:
		s.People, err = h.named(ctx, in.People)
		return err
	default:
		return fault.New(fault.Invalid, "audience_invalid", "A link is for anyone, people or named.")
	}
	if s.Audience == AudienceAnyone && h.Links == AudiencePeople {
		return errNotAnyone
	}
	if len(in.People) > 0 {
		return fault.New(fault.Invalid, "people_unwanted", "People are named only for links that are for the named.")
	}
	return nil
}

// shareOf checks that what is to be shared is there. A checkpoint is pinned: it
// must not go by number.
func (h *Hub) shareOf(ctx context.Context, p Project, s *Share) error {
	if s.Checkpoint == "" {
		switch s.Copies {
		case "":
			s.Copies = CopyNotebook
		case CopyNotebook:
		default:
			return fault.New(fault.Invalid, "copies_invalid", "Only what a checkpoint has can be copied beside a notebook. Keep a checkpoint and share that.")
		}
		_, err := h.sharedNotebook(ctx, p, *s)
		return err
	}
	c, err := h.Store.Checkpoint(ctx, p.ID, s.Checkpoint)
	if err != nil {
		return err
	}
	if s.Notebook != "" && s.Notebook != c.Notebook {
		return fault.New(fault.Invalid, "notebook_unwanted", "A checkpoint has one notebook: leave the other out.")
	}
	s.Notebook = c.Notebook
	switch s.Copies {
	case CopyNotebook:
	case "", CopyFiles:
		s.Copies = CopyFiles
		if c.Files.State != FilesPending && c.Files.State != FilesThere {
			_, err = h.KeptFiles(ctx, c)
		}
	case CopyState:
		if c.Kind == KindVariables {
			err = errNoProcess
		} else if c.Files.State != FilesPending {
			_, err = h.KeptFiles(ctx, c)
		}
	default:
		err = fault.New(fault.Invalid, "copies_invalid", "A copy has the notebook, the files too, or the state too.")
	}
	if err == nil {
		_, err = h.sharedNotebook(ctx, p, *s)
	}
	if err == nil && !c.Pinned {
		c.Pinned = true
		err = h.Store.PutCheckpoint(ctx, c)
	}
	return err
}

// named finds people by their names.
func (h *Hub) named(ctx context.Context, names []string) (ids []string, err error) {
	if len(names) == 0 || len(names) > maxNamed {
		return nil, fault.Newf(fault.Invalid, "people_missing", "Say for whom the link is: from 1 to %d people.", maxNamed)
	}
	for _, name := range names {
		u, err := h.Store.UserByName(ctx, strings.TrimSpace(name))
		if errors.Is(err, fault.NotFound) {
			return nil, fault.Newf(fault.Invalid, "person_unknown", "There is no account named %.64q on this hub.", name)
		}
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, u.ID) {
			ids = append(ids, u.ID)
		}
	}
	return ids, nil
}

// Shares lists the links of a project, newest first.
func (h *Hub) Shares(ctx context.Context, p Project) (out []ShareView, err error) {
	h.noteShares(ctx)
	list, err := h.Store.Shares(ctx, p.ID)
	for _, s := range list {
		out = append(out, h.shareView(ctx, s))
	}
	return out, err
}

func (h *Hub) shareView(ctx context.Context, s Share) ShareView {
	v := ShareView{
		ID: s.ID, Name: s.Name, Notebook: s.Notebook, Checkpoint: s.Checkpoint, Audience: s.Audience, Copies: s.Copies, Author: s.Author,
		CreatedAt: s.CreatedAt, Expired: s.expired(time.Now()), Opened: s.Opened,
	}
	if !s.ExpiresAt.IsZero() {
		v.ExpiresAt = &s.ExpiresAt
	}
	if !s.OpenedAt.IsZero() {
		v.OpenedAt = &s.OpenedAt
	}
	for _, id := range s.People {
		if u, err := h.Store.UserByID(ctx, id); err == nil {
			v.People = append(v.People, u.Name)
		}
	}
	if s.Checkpoint != "" {
		if c, err := h.Store.Checkpoint(ctx, s.Project, s.Checkpoint); err == nil {
			v.CheckpointName = c.Name
		}
	}
	return v
}

func (s Share) expired(now time.Time) bool {
	return !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt)
}

// RevokeShare ends a link at once.
func (h *Hub) RevokeShare(ctx context.Context, p Project, id string) error {
	err := h.Store.DeleteShare(context.WithoutCancel(ctx), p.ID, id)
	if errors.Is(err, fault.NotFound) {
		return errNoShare
	}
	return err
}

// NotebookMoved has the links of a notebook, or of all below a folder, follow it.
func (h *Hub) NotebookMoved(ctx context.Context, p Project, from, to string) {
	if err := h.Store.MoveShares(context.WithoutCancel(ctx), p.ID, from, to); err != nil {
		h.Log.Error("links did not follow a notebook", "project", p.ID, "error", err)
	}
}

// NotebookDeleted ends the links of a notebook that is deleted, or of all below a
// folder: they must not show what gets the name next.
func (h *Hub) NotebookDeleted(ctx context.Context, p Project, path string) {
	if err := h.Store.DropShares(context.WithoutCancel(ctx), p.ID, path); err != nil {
		h.Log.Error("links of a deleted notebook not revoked", "project", p.ID, "error", err)
	}
}
