package hub

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// answers is a Poster whose receiver gives the statuses named, then 200; 0 means
// that nobody answers.
type answers struct {
	mu     sync.Mutex
	list   []int
	bodies chan []byte
	header map[string]string
}

func (a *answers) Check(url string) error {
	if !strings.HasPrefix(url, "https://") {
		return fault.New(fault.Invalid, "webhook_url", "No.")
	}
	return nil
}

func (a *answers) Post(_ context.Context, _ string, header map[string]string, body []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.header = header
	status := 200
	if len(a.list) > 0 {
		status, a.list = a.list[0], a.list[1:]
	}
	a.bodies <- body
	if status == 0 {
		return 0, fault.New(fault.Unavailable, "webhook_unreachable", "Nothing answers.")
	}
	return status, nil
}

// hookStore keeps webhooks and deliveries as the real one does, with an ear for
// every change of a delivery.
type hookStore struct {
	Store
	mu    sync.Mutex
	hooks map[string]Webhook
	list  map[string]Delivery
	ends  chan Delivery
}

func (s *hookStore) Project(_ context.Context, id string) (Project, error) {
	return Project{ID: id, Name: "P " + id}, nil
}

func (s *hookStore) PutWebhook(_ context.Context, w Webhook) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks[w.Project] = w
	return nil
}

func (s *hookStore) Webhooks(context.Context) (out []Webhook, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.hooks {
		out = append(out, w)
	}
	return out, nil
}

func (s *hookStore) AddDelivery(_ context.Context, d Delivery, _ int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.list[d.ID]; ok {
		return fault.New(fault.Conflict, "exists", "There is one.")
	}
	s.list[d.ID] = d
	return nil
}

func (s *hookStore) PutDelivery(_ context.Context, d Delivery) error {
	s.mu.Lock()
	s.list[d.ID] = d
	s.mu.Unlock()
	s.ends <- d
	return nil
}

func (s *hookStore) PendingDeliveries(context.Context) (out []Delivery, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.list {
		if d.State == DeliveryPending {
			out = append(out, d)
		}
	}
	return out, nil
}

func (s *hookStore) PruneDeliveries(context.Context, time.Time) error { return nil }

func hookHub(t *testing.T, statuses ...int) (*Hub, *hookStore, *answers) {
	s := &hookStore{hooks: map[string]Webhook{}, list: map[string]Delivery{}, ends: make(chan Delivery, 100)}
	a := &answers{list: statuses, bodies: make(chan []byte, 100)}
	h := &Hub{Config: Config{Data: filepath.Join(t.TempDir()), Poster: a}, Store: s, Log: slog.New(slog.DiscardHandler), since: time.Now().Add(-time.Hour), live: map[kernel.ID]*Live{}}
	h.ctx, h.stop = context.WithCancel(t.Context())
	if err := h.openWebhooks(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h, s, a
}

// courierOf runs a courier that does not wait long between attempts.
func (h *Hub) courierOf(t *testing.T) {
	c := &courier{h: h, retries: []time.Duration{time.Millisecond, time.Millisecond}, done: make(chan posted, maxPosts), busy: map[string]bool{}, hold: map[string]time.Time{}}
	h.wg.Go(c.run)
	t.Cleanup(func() { h.stop(); h.wg.Wait() })
}

func TestWhatIsTold(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		hook  Webhook
		end   ended
		state string // of its delivery; empty: none
	}{
		"a long run, nobody there": {Webhook{}, ended{}, DeliveryPending},
		"somebody was there":       {Webhook{}, ended{seen: true}, DeliverySkipped},
		"ended while no hub was there, and the tab is back already": {Webhook{}, ended{seen: true, before: true}, DeliveryPending},
		"too short":                     {Webhook{Minimal: 2 * time.Minute}, ended{}, ""},
		"long enough":                   {Webhook{Minimal: time.Minute}, ended{}, DeliveryPending},
		"only failures, and it is one":  {Webhook{OnlyFailures: true}, ended{toldRun: toldRun{State: RunError}}, DeliveryPending},
		"cut off is one too":            {Webhook{OnlyFailures: true}, ended{toldRun: toldRun{State: RunAborted}}, DeliveryPending},
		"only failures, and it is none": {Webhook{OnlyFailures: true}, ended{}, ""},
		"never began":                   {Webhook{}, ended{toldRun: toldRun{State: RunAborted, StartedAt: time.Unix(0, 0)}}, ""},
		"before there was a webhook":    {Webhook{CreatedAt: now.Add(time.Second)}, ended{}, ""},
		"too long ago":                  {Webhook{}, ended{toldRun: toldRun{EndedAt: now.Add(-tellFor - time.Hour)}}, ""},
	} {
		h, s, _ := hookHub(t)
		c.hook.Project = "p"
		h.webhooks.set("p", &c.hook)
		e := c.end
		if e.id = "run_1"; e.State == "" {
			e.State = RunDone
		}
		switch e.StartedAt {
		case time.Time{}:
			e.StartedAt = now.Add(-time.Minute)
		case time.Unix(0, 0):
			e.StartedAt = time.Time{}
		}
		if e.EndedAt.IsZero() {
			e.EndedAt = now
		}
		e.DurationMS = time.Minute.Milliseconds()
		h.tell("p", e)
		h.tell("q", e) // a project without one
		h.wg.Wait()
		if got := s.list["run_1"].State; got != c.state || len(s.list) > 1 {
			t.Errorf("%s: %q, want %q", name, got, c.state)
		}
		h.stop()
	}
}

func TestDelivery(t *testing.T) {
	for name, c := range map[string]struct {
		statuses []int
		state    string
		attempts int
	}{
		"at once":                  {nil, DeliveryDone, 1},
		"after two failures":       {[]int{0, 503}, DeliveryDone, 3},
		"too many requests":        {[]int{429}, DeliveryDone, 2},
		"never":                    {[]int{500, 500, 500}, DeliveryFailed, 3},
		"refused for good":         {[]int{404}, DeliveryFailed, 1},
		"a redirect is no address": {[]int{302}, DeliveryFailed, 1},
	} {
		h, s, a := hookHub(t, c.statuses...)
		h.webhooks.set("p", &Webhook{Project: "p", URL: "https://x", Secret: "0123456789abcdef"})
		h.courierOf(t)
		e := ended{id: "run_1", toldRun: toldRun{State: RunDone, StartedAt: time.Now(), EndedAt: time.Now(), Notebook: "n.ipynb"}}
		h.tell("p", e)
		var d Delivery
		for d.State != DeliveryDone && d.State != DeliveryFailed {
			d = <-s.ends
		}
		if d.State != c.state || d.Attempts != c.attempts {
			t.Errorf("%s: %+v", name, d)
		}
		body := <-a.bodies
		var m hookMessage
		if err := json.Unmarshal(body, &m); err != nil || m.Type != "run.ended" || m.ID != "run_1" || m.Project.Name != "P p" || m.Run.Notebook != "n.ipynb" {
			t.Errorf("%s: %s", name, body)
		}
		mac := hmac.New(sha256.New, []byte("0123456789abcdef"))
		mac.Write([]byte("run_1." + a.header["webhook-timestamp"] + "." + string(body)))
		if got := a.header["webhook-signature"]; got != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
			t.Errorf("%s: signature %s", name, got)
		}
		h.tell("p", e) // the same run, read again from the journal
		h.stop()
		h.wg.Wait()
		if len(s.list) != 1 || len(a.bodies) != c.attempts-1 {
			t.Errorf("%s: told again: %d deliveries, %d more attempts", name, len(s.list), len(a.bodies))
		}
	}
}

func TestWhatWaitedIsSentByTheNextHub(t *testing.T) {
	h, s, a := hookHub(t)
	s.hooks["p"] = Webhook{Project: "p", URL: "https://x"}
	s.list["run_1"] = Delivery{ID: "run_1", Project: "p", State: DeliveryPending, Body: []byte(`{"id":"run_1"}`)}
	s.list["run_2"] = Delivery{ID: "run_2", Project: "p", State: DeliverySkipped, Body: []byte(`{"id":"run_2"}`)}
	if err := h.openWebhooks(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.courierOf(t)
	if d := <-s.ends; d.ID != "run_1" || d.State != DeliveryDone {
		t.Errorf("%+v", d)
	}
	if _, signed := a.header["webhook-signature"]; signed {
		t.Error("signed without a secret")
	}
}

func TestSettingAWebhook(t *testing.T) {
	h, s, _ := hookHub(t)
	secret := func(s string) *string { return &s }
	set := func(w Webhook, secret *string) error {
		w.Project = "p"
		_, err := h.SetWebhook(t.Context(), w, secret)
		return err
	}
	for name, err := range map[string]error{
		"address":   set(Webhook{URL: "nonsense"}, nil),
		"duration":  set(Webhook{URL: "https://x", Minimal: -1}, nil),
		"too long":  set(Webhook{URL: "https://x", Minimal: 25 * time.Hour}, nil),
		"short":     set(Webhook{URL: "https://x"}, secret("short")),
		"very long": set(Webhook{URL: "https://x"}, secret(strings.Repeat("x", maxSecret+1))),
	} {
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(s.hooks) != 0 {
		t.Fatalf("%+v", s.hooks)
	}
	for i, c := range []struct {
		secret *string
		want   string
	}{{nil, ""}, {secret("0123456789abcdef"), "0123456789abcdef"}, {nil, "0123456789abcdef"}, {secret(""), ""}} {
		if err := set(Webhook{URL: "https://x"}, c.secret); err != nil {
			t.Fatal(err)
		}
		if got := s.hooks["p"].Secret; got != c.want {
			t.Errorf("%d: secret %q, want %q", i, got, c.want)
		}
	}
	h.Poster = nil
	if err := set(Webhook{URL: "https://x"}, nil); !errors.Is(err, fault.Unsupported) {
		t.Errorf("without a poster: %v", err)
	}
}

// The test vector of the Standard Webhooks specification's own libraries.
func TestSignature(t *testing.T) {
	got := signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What a kernel says is bounded in a message, and is text.
func TestWhatIsToldOfARunIsBounded(t *testing.T) {
	h, _, _ := hookHub(t)
	l := h.newLive(Kernel{ID: "k", Project: "p"})
	long := strings.Repeat("é", 4000)
	e := l.endedRun(&Run{MsgID: long, CellID: long, Path: long, State: RunError, Outputs: []*Output{
		{stream: "stdout", text: []byte("a\nb\n")}, {body: map[string]any{"output_type": "error", "ename": "E\xff", "evalue": long}},
	}}, "")
	for name, s := range map[string]string{"cell": e.Cell, "notebook": e.Notebook, "error": e.Error, "id": e.id} {
		if len(s) > maxTold+3 || s != strings.ToValidUTF8(s, "") {
			t.Errorf("%s has %d bytes", name, len(s))
		}
	}
	if e.Lines != 2 || !strings.HasPrefix(e.Error, "E") {
		t.Errorf("%d lines, %s", e.Lines, e.Error[:10])
	}
}
