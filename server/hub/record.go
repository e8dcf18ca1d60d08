package hub

import (
	"context"
	"encoding/json"
	"time"

	"cellar/kernel"
	"cellar/node"
)

// User is a person with an account.
type User struct {
	ID           string
	Name         string
	Admin        bool
	PasswordHash string
	CreatedAt    time.Time
}

// Token is an API token; only its hash is kept.
type Token struct {
	ID        string
	User      string
	Hash      []byte
	Name      string
	CreatedAt time.Time
	UsedAt    time.Time
}

// Login is a browser that signed in.
type Login struct {
	Hash      []byte
	User      string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Project holds notebooks, files, packages, sessions, checkpoints and nodes.
type Project struct {
	ID        string
	Name      string
	Owner     string // user ID
	UIDBase   uint32 // the machine's user ID that is root in its containers
	CreatedAt time.Time
	Autosave  string        // see Settings
	Idle      time.Duration // see Settings
	Foreign   bool          // it began with somebody else's kernel or packages: what its kernels say is not its owner's own doing
}

// Kernel is one interpreter's record.
type Kernel struct {
	ID            kernel.ID
	Project       string
	Spec          string
	Image         string
	Dir           string
	Configuration string
	Home          string // the configuration that it goes back to; empty: it has its own, see lease.go
	State         kernel.State
	Detail        string
	Incarnation   int
	Container     string
	Journal       string
	Parts         string
	Acked         uint64
	Checkpoint    string
	Base          string // the checkpoint that its state came from last; empty: none
	Address       uint32
	CreatedAt     time.Time
	ActiveAt      time.Time
	Since         time.Time
	AwakeUntil    time.Time // it does not hibernate by itself before
}

// Session is a notebook, console or file opened on a kernel.
type Session struct {
	ID        string
	Project   string
	Path      string
	Name      string
	Type      string
	Kernel    kernel.ID
	CreatedAt time.Time
}

// Kinds of checkpoints.
const (
	KindAuto      = "auto"
	KindManual    = "manual"
	KindHibernate = "hibernate"
	KindSwitch    = "switch"
	KindRollback  = "rollback"
	KindPublish   = "publish"   // belongs to a node, shown with it
	KindVariables = "variables" // no process: its variables, one by one
)

// Checkpoint is one frozen kernel.
type Checkpoint struct {
	ID        string
	Project   string
	Kernel    kernel.ID
	Parent    string
	Name      string
	Kind      string
	Notebook  string
	Size      int64
	Added     int64 // bytes that it took beside all that was stored before
	Image     string
	Parts     string
	Seq       uint64
	Pinned    bool
	Stored    bool // in the archive; its folder may be gone
	CreatedAt time.Time
	Files     FilesKept
	Origin    string // the ID of the machine's; empty: not known
	After     After
}

// After is the cell that had ended last when a checkpoint was made; zero: none.
type After struct {
	Cell  string `json:"cell,omitempty"`
	Count int    `json:"count,omitempty"` // its execution count; 0: not known
}

// Node is something callable. What it serves is in its revisions.
type Node struct {
	ID        string
	Project   string
	Name      string
	Current   int // the revision that answers calls which name none
	Last      int // the highest number given so far
	Paused    bool
	CreatedAt time.Time
}

// Revision is an immutable version of a node: a cell, and the state it starts
// from.
type Revision struct {
	Node          string
	Number        int // from 1
	Files         int // the revision whose folder it is served from
	Checkpoint    string
	Configuration string
	Notebook      string
	Cell          string
	Source        string
	Inputs        json.RawMessage
	Outputs       json.RawMessage
	Author        string // the person's name at the time; empty: not known
	Note          string
	CreatedAt     time.Time
}

// Alias is a stable name before nodes.
type Alias struct {
	ID        string
	Project   string
	Name      string
	CreatedAt time.Time
	Setting   // in force
}

// Setting is what an alias leads to from one change to the next.
type Setting struct {
	Number  int // from 1, without gaps
	Targets []node.Share
	Guard   node.Guard
	Public  bool   // answers without a key
	Author  string // empty: the hub went back by itself
	Reason  string
	At      time.Time
}

// Key lets a caller in to nodes and aliases. The secret itself is told once.
type Key struct {
	ID        string
	Project   string
	Name      string
	Hash      []byte
	OldHash   []byte // of before a rotation, good until OldUntil
	OldUntil  time.Time
	Scope     []string // IDs of nodes and aliases
	Allowance node.Allowance
	Day       int64 // days since 1970 that Calls are of
	Calls     int64
	UsedAt    time.Time
	Author    string
	CreatedAt time.Time
}

// Share shows a notebook, or what a checkpoint has, to others by a link. The
// link's secret is told once. One that is revoked has no record.
type Share struct {
	ID         string
	Project    string
	Checkpoint string // empty: the notebook as it is when it is looked at
	Hash       []byte
	Name       string
	Notebook   string
	Audience   string   // see AudienceAnyone
	People     []string // IDs of the named
	Copies     string   // what a copy has, see CopyNotebook
	Author     string   // the person's name at the time
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: never
	Opens
}

// Opens is how often something was opened, and when last.
type Opens struct {
	Opened   int64
	OpenedAt time.Time
}

// Store keeps the records. Get methods answer fault.NotFound, adding what is
// there already fault.Conflict.
type Store interface {
	LedgerStore
	LimitStore

	AddUser(ctx context.Context, u User) error
	UserByName(ctx context.Context, name string) (User, error)
	UserByID(ctx context.Context, id string) (User, error)
	Users(ctx context.Context) ([]User, error)
	// SetPassword ends the user's logins too, all but the one with hash keep.
	SetPassword(ctx context.Context, user, hash string, keep []byte) error

	AddToken(ctx context.Context, t Token) error
	TokenByHash(ctx context.Context, hash []byte) (Token, error)
	TokensOf(ctx context.Context, user string) ([]Token, error)
	DeleteToken(ctx context.Context, user, id string) error
	AddLogin(ctx context.Context, l Login) error
	LoginByHash(ctx context.Context, hash []byte) (Login, error)
	DeleteLogin(ctx context.Context, hash []byte) error

	AddProject(ctx context.Context, p Project) (Project, error) // gives UIDBase
	PutProject(ctx context.Context, p Project) error            // name and settings
	Project(ctx context.Context, id string) (Project, error)
	Projects(ctx context.Context) ([]Project, error)
	DeleteProject(ctx context.Context, id string) error

	PutKernel(ctx context.Context, k Kernel) error
	Kernels(ctx context.Context) ([]Kernel, error)
	DeleteKernel(ctx context.Context, id kernel.ID) error

	PutSession(ctx context.Context, s Session) error
	Sessions(ctx context.Context, project string) ([]Session, error)
	DeleteSession(ctx context.Context, project, id string) error

	PutCheckpoint(ctx context.Context, c Checkpoint) error
	Checkpoint(ctx context.Context, project, id string) (Checkpoint, error)
	Checkpoints(ctx context.Context, project string) ([]Checkpoint, error)
	// StoredCheckpoint records that a checkpoint was stored, and what it added.
	StoredCheckpoint(ctx context.Context, id string, added int64) error
	// FiledCheckpoint records what is kept of a checkpoint's files.
	FiledCheckpoint(ctx context.Context, id string, f FilesKept) error
	DeleteCheckpoint(ctx context.Context, id string) error
	// AddOrigin adds what is there already without an error.
	AddOrigin(ctx context.Context, o Origin) error
	Origins(ctx context.Context) (map[string]Origin, error) // by ID

	// AddRevision adds a revision and makes it the node's current one, in one
	// step; the first adds the node too, and its keys. A node that is gone is
	// fault.NotFound.
	AddRevision(ctx context.Context, n Node, r Revision, first ...Key) error
	Revision(ctx context.Context, node string, number int) (Revision, error)
	Revisions(ctx context.Context, node string) ([]Revision, error) // newest first; an empty node means all
	// DeleteRevision never deletes a current one: that is fault.NotFound.
	DeleteRevision(ctx context.Context, node string, number int) error
	// SetCurrent answers fault.NotFound when there is no such revision.
	SetCurrent(ctx context.Context, node string, number int) error
	PutNode(ctx context.Context, n Node) error // name, and whether it is paused
	Node(ctx context.Context, id string) (Node, error)
	Nodes(ctx context.Context, project string) ([]Node, error)
	DeleteNode(ctx context.Context, id string) error // with its revisions

	// AddSetting puts a setting in force if Number-1 was until then, else it is
	// fault.NotFound; the first adds the alias too, and its keys. Of the settings
	// before it, keep stay.
	AddSetting(ctx context.Context, a Alias, keep int, first ...Key) error
	Alias(ctx context.Context, id string) (Alias, error)
	Aliases(ctx context.Context, project string) ([]Alias, error)  // by name
	Settings(ctx context.Context, alias string) ([]Setting, error) // newest first
	DeleteAlias(ctx context.Context, id string) error

	// PutCallKey answers fault.Exhausted when a project would have more than limit.
	PutCallKey(ctx context.Context, k Key, limit int) error
	CallKeys(ctx context.Context) ([]Key, error) // of all projects
	// UseCallKeys notes day, calls and last use of keys that are there.
	UseCallKeys(ctx context.Context, list []Key) error
	DeleteCallKey(ctx context.Context, id string) error

	// AddShare answers fault.Exhausted when a project would have more than limit,
	// and fault.NotFound when the project or the checkpoint is gone.
	AddShare(ctx context.Context, s Share, limit int) error
	Share(ctx context.Context, id string) (Share, error)
	ShareByHash(ctx context.Context, hash []byte) (Share, error)
	Shares(ctx context.Context, project string) ([]Share, error)    // newest first
	SharesFor(ctx context.Context, user string) ([]Share, error)    // that name the user, the newest 500
	OpenedShares(ctx context.Context, list map[string]Opens) error  // adds to what is on record
	MoveShares(ctx context.Context, project, from, to string) error // of notebooks at or below a path
	DropShares(ctx context.Context, project, path string) error     // the same; none is no error
	DeleteShare(ctx context.Context, project, id string) error

	PutWebhook(ctx context.Context, w Webhook) error
	Webhooks(ctx context.Context) ([]Webhook, error)
	// DeleteWebhook removes what waits for it too.
	DeleteWebhook(ctx context.Context, project string) error
	// AddDelivery answers fault.Exhausted when more than limit of the project are
	// pending.
	AddDelivery(ctx context.Context, d Delivery, limit int) error
	PutDelivery(ctx context.Context, d Delivery) error
	// PendingDeliveries lists those that are due first; not all, if there are many.
	PendingDeliveries(ctx context.Context) ([]Delivery, error)
	// LastDelivery is the newest that was not skipped, without its body.
	LastDelivery(ctx context.Context, project string) (Delivery, error)
	// PruneDeliveries removes those made before a moment.
	PruneDeliveries(ctx context.Context, before time.Time) error
}
