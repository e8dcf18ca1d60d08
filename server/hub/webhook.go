package hub

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// Webhook is where a project's long cells are told of when nobody is there.
type Webhook struct {
	Project      string
	URL          string // shown to who may open the project, never logged
	Secret       string // signs what is sent; empty: nothing is signed. Never shown, never logged
	Minimal      time.Duration
	OnlyFailures bool
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// States of a delivery. One that is skipped is kept so that the run is not told
// of later either: somebody was there.
const (
	DeliveryPending = "pending"
	DeliveryDone    = "done"
	DeliveryFailed  = "failed"
	DeliverySkipped = "skipped"
)

// Delivery is one message of a webhook. It is on record from the end of its run
// on, under an ID made from the run: the run is told of once, whatever restarts.
type Delivery struct {
	ID        string
	Project   string
	State     string
	Body      []byte
	Attempts  int
	Due       time.Time
	CreatedAt time.Time
	At        time.Time // of the last attempt
	Status    int       // its answer's; 0: nobody answered
	Error     string    // a sentence
}

// Poster sends messages to addresses that people name. It refuses those within
// the operator's own network.
type Poster interface {
	// Check refuses an address to which nothing could ever be sent.
	Check(url string) error
	// Post sends body once; status is 0 when nobody answered. Errors do not name
	// the address.
	Post(ctx context.Context, url string, header map[string]string, body []byte) (status int, err error)
}

const (
	minSecret, maxSecret = 16, 256
	maxMinimal           = 24 * time.Hour
	// tellFor is for how long after its end a run may still be told of, and how
	// long deliveries are kept.
	tellFor = 7 * 24 * time.Hour
)

var (
	errNoWebhook   = fault.New(fault.NotFound, "webhook_not_set", "This project has no webhook.")
	errWebhooksOff = fault.New(fault.Unsupported, "webhooks_off", "This server sends no webhooks.")
)

// webhooks are those of all projects, by project; the database has them too.
type webhooks struct {
	mu   sync.Mutex
	of   map[string]Webhook
	wake chan struct{}
}

func (w *webhooks) get(project string) (Webhook, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	hook, ok := w.of[project]
	return hook, ok
}

func (w *webhooks) set(project string, hook *Webhook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if hook == nil {
		delete(w.of, project)
		return
	}
	w.of[project] = *hook
}

func (w *webhooks) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (h *Hub) openWebhooks(ctx context.Context) error {
	h.webhooks.of, h.webhooks.wake = map[string]Webhook{}, make(chan struct{}, 1)
	list, err := h.Store.Webhooks(ctx)
	for _, hook := range list {
		h.webhooks.of[hook.Project] = hook
	}
	return err
}

// Webhook gives a project's webhook and the last message that was sent by it.
func (h *Hub) Webhook(ctx context.Context, project string) (Webhook, Delivery, error) {
	hook, ok := h.webhooks.get(project)
	if !ok {
		return hook, Delivery{}, errNoWebhook
	}
	last, err := h.Store.LastDelivery(ctx, project)
	if errors.Is(err, fault.NotFound) {
		err = nil
	}
	return hook, last, err
}

// SetWebhook sets where a project's long cells are told of. A nil secret keeps
// the present one.
func (h *Hub) SetWebhook(ctx context.Context, hook Webhook, secret *string) (Webhook, error) {
	if h.Poster == nil {
		return hook, errWebhooksOff
	}
	if err := h.Poster.Check(hook.URL); err != nil {
		return hook, err
	}
	if hook.Minimal < 0 || hook.Minimal > maxMinimal {
		return hook, fault.New(fault.Invalid, "webhook_minimal", "The minimal duration is between 0 and 86,400 seconds.")
	}
	old, ok := h.webhooks.get(hook.Project)
	now := time.Now()
	hook.CreatedAt, hook.UpdatedAt, hook.Secret = now, now, old.Secret
	if ok {
		hook.CreatedAt = old.CreatedAt
	}
	if secret != nil {
		hook.Secret = *secret
	}
	if n := len(hook.Secret); n != 0 && (n < minSecret || n > maxSecret) {
		return hook, fault.Newf(fault.Invalid, "webhook_secret", "The secret has %d to %d characters, or is left out.", minSecret, maxSecret)
	}
	if err := h.Store.PutWebhook(ctx, hook); err != nil {
		return hook, err
	}
	h.webhooks.set(hook.Project, &hook)
	return hook, nil
}

// DeleteWebhook forgets a webhook and what waits for it.
func (h *Hub) DeleteWebhook(ctx context.Context, project string) error {
	err := h.Store.DeleteWebhook(ctx, project)
	if errors.Is(err, fault.NotFound) {
		return errNoWebhook
	}
	if err == nil {
		h.webhooks.set(project, nil)
	}
	return err
}

// TestWebhook sends a message now, once, and gives the answer's status.
func (h *Hub) TestWebhook(ctx context.Context, p Project) (status int, err error) {
	hook, ok := h.webhooks.get(p.ID)
	switch {
	case h.Poster == nil:
		return 0, errWebhooksOff
	case !ok:
		return 0, errNoWebhook
	}
	body, err := json.Marshal(hookMessage{Type: "test", ID: "test_" + newID(), Time: time.Now().UTC(), Project: named{p.ID, p.Name}})
	if err != nil {
		return 0, err
	}
	return h.post(ctx, hook, body)
}

// post sends one message, signed as the Standard Webhooks specification says.
func (h *Hub) post(ctx context.Context, hook Webhook, body []byte) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, postLimit)
	defer cancel()
	var m struct{ ID string }
	if err := json.Unmarshal(body, &m); err != nil {
		return 0, err
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	header := map[string]string{"Content-Type": "application/json", "webhook-id": m.ID, "webhook-timestamp": at}
	if hook.Secret != "" {
		header["webhook-signature"] = signature(hook.Secret, m.ID, at, body)
	}
	return h.Poster.Post(ctx, hook.URL, header, body)
}

// signature is HMAC-SHA256 over id, time and body. A secret in the form
// "whsec_" and base64 stands for those bytes, as libraries for it expect.
func signature(secret, id, at string, body []byte) string {
	key := []byte(secret)
	if rest, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if b, err := base64.StdEncoding.DecodeString(rest); err == nil {
			key = b
		}
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// hookMessage is what is sent: documented in docs/api.md.
type hookMessage struct {
	Type    string     `json:"type"` // run.ended, limit.near, limit.reached or test
	ID      string     `json:"id"`
	Time    time.Time  `json:"timestamp"`
	Project named      `json:"project"`
	Run     *toldRun   `json:"run,omitempty"`
	Limit   *LimitNews `json:"limit,omitempty"`
}

type toldRun struct {
	Notebook       string    `json:"notebook"`
	Cell           string    `json:"cell"`
	Kernel         kernel.ID `json:"kernel"`
	State          string    `json:"state"`
	Error          string    `json:"error,omitempty"`
	ExecutionCount *int      `json:"execution_count"`
	StartedAt      time.Time `json:"started_at"`
	EndedAt        time.Time `json:"ended_at"`
	DurationMS     int64     `json:"duration_ms"`
	PeakMemory     int64     `json:"peak_memory_bytes"`
	Lines          int       `json:"lines"`
}

// maxTold bounds each text of a message that comes from a kernel or a client.
const maxTold = 500

func cut(s string) string {
	if len(s) <= maxTold {
		return strings.ToValidUTF8(s, "�")
	}
	return strings.ToValidUTF8(s[:maxTold], "") + "…"
}

// ended is a run that has ended, as much of it as is told.
type ended struct {
	toldRun
	id     string
	seen   bool // a client was at the kernel
	before bool // it ended before this hub began
}

// endedRun takes what is told of a run; the lock is held. why is said of one that
// was aborted.
func (l *Live) endedRun(r *Run, why string) ended {
	e := ended{
		toldRun: toldRun{
			Notebook: cut(r.Path), Cell: cut(r.CellID), Kernel: l.rec.ID, State: r.State, ExecutionCount: r.Count, StartedAt: r.StartedAt,
			EndedAt: r.EndedAt, DurationMS: r.view(l.rec.ID).DurationMS, PeakMemory: r.Peak, Lines: lines(r), Error: cut(why),
		},
		seen: len(l.clients) > 0, before: r.EndedAt.Before(l.h.since),
	}
	for _, o := range r.Outputs {
		if name, ok := o.body["ename"].(string); ok {
			value, _ := o.body["evalue"].(string)
			e.Error = cut(name + ": " + value)
		}
	}
	sum := sha256.Sum256([]byte(string(l.rec.ID) + "\x00" + r.MsgID))
	e.id = "run_" + hex.EncodeToString(sum[:16])
	return e
}

// tell puts a run's end on record for the project's webhook, if there is one and
// the run is one to tell of. Runs that ended while no hub was there are told
// when one is back: the journal has them, and nobody was there.
func (h *Hub) tell(project string, e ended) {
	hook, ok := h.webhooks.get(project)
	took := time.Duration(e.DurationMS) * time.Millisecond
	if !ok || e.StartedAt.IsZero() || took < hook.Minimal || e.EndedAt.Before(hook.CreatedAt) || time.Since(e.EndedAt) > tellFor {
		return
	}
	if hook.OnlyFailures && e.State == RunDone {
		return
	}
	h.wg.Go(func() {
		if err := h.record(project, e); err != nil && !errors.Is(err, fault.Conflict) {
			h.Log.Error("webhook: a run's end is not told", "project", project, "error", err)
		}
	})
}

func (h *Hub) record(project string, e ended) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), postLimit) // the hub may be closing, and waits for this
	defer cancel()
	p, err := h.Store.Project(ctx, project)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	d := Delivery{ID: e.id, Project: project, State: DeliveryPending, CreatedAt: now, Due: now}
	if d.Body, err = json.Marshal(hookMessage{Type: "run.ended", ID: e.id, Time: now, Project: named{p.ID, p.Name}, Run: &e.toldRun}); err != nil {
		return err
	}
	if e.seen && !e.before {
		d.State = DeliverySkipped
	}
	if err := h.Store.AddDelivery(ctx, d, maxPending); err != nil {
		return err
	}
	h.webhooks.signal()
	return nil
}
