package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"cellar/images/tour"
	"cellar/internal/fault"
	"cellar/machine"
	"cellar/server"
	"cellar/server/api"
	"cellar/server/hub"
	"cellar/server/webhook"
	"cellar/web"
)

type serveCmd struct {
	dataFlags
	keyFlags
	Listen         string         `help:"Address to listen on." default:"127.0.0.1:8888"`
	AppsListen     string         `help:"Address on which browsers are shown applications of projects; off: nowhere. Without it, the host of --listen and a port that is kept in the data folder."`
	AppsURL        string         `help:"Scheme and host of that address as browsers reach it, when it is behind a proxy; {project} stands for a project's ID." placeholder:"URL"`
	BasePath       string         `help:"Path prefix behind a proxy, e.g. /cellar." default:""`
	TrustedProxies []string       `help:"Networks whose X-Forwarded-* headers are believed, e.g. 127.0.0.1/32."`
	Host           []string       `help:"Names by which browsers reach the hub; others are refused. Without it: on the loopback addresses and localhost, elsewhere any." placeholder:"NAME"`
	TLSCert        string         `help:"Certificate file (PEM); read again when it changes." type:"path"`
	TLSKey         string         `help:"Key file (PEM)." type:"path"`
	Idle           time.Duration  `help:"A kernel idle for so long hibernates; 0 means never." default:"30m"`
	StoreAfter     time.Duration  `help:"A checkpoint that nobody needs for so long is stored compressed and encrypted, and shares what is equal with others; 0 means never." default:"5m"`
	Autosave       time.Duration  `help:"A kernel that rests for so long after it has run something is kept as an automatic checkpoint, of which the newest ten stay; 0 means never." default:"1m"`
	AutosaveMemory int64          `help:"Bytes; a kernel that uses more is not kept automatically: it stands still while it is written." default:"1073741824"`
	FilesEach      int64          `help:"Bytes; a checkpoint lists larger files of the project and does not keep them." default:"104857600"`
	FilesTotal     int64          `help:"Bytes of a project's files that a checkpoint keeps, the smaller ones first; 0 means none." default:"5368709120"`
	FilesPackages  int64          `help:"Bytes of what is installed in a project that a checkpoint keeps; 0 means a list only." default:"5368709120"`
	QuotaProject   int64          `help:"Bytes that a project may take: files, packages, and what its checkpoints add; 0 means no limit. Over it nothing new is made; kernels still hibernate, and notebooks are saved." default:"0"`
	QuotaUser      int64          `help:"Bytes that all projects of a person may take together; 0 means no limit." default:"0"`
	Overcommit     float64        `help:"How often the machine's memory may be given to configurations, as most kernels use little of theirs; kernels for which there is no room wait in line. 1 gives what there is, 0 is without a limit." default:"4"`
	OvercommitCPUs float64        `help:"The same for cores." name:"overcommit-cpus" default:"0"`
	NodeIdle       time.Duration  `help:"An instance of a node that nobody calls for so long is removed." default:"60s"`
	JournalQuota   int64          `help:"Bytes of output kept for each kernel until the notebook has them." default:"1073741824"`
	Templates      bool           `help:"Begin Python kernels from one that was frozen when it had just started; otherwise each is started by itself." default:"true" negatable:""`
	Configurations configurations `help:"A JSON file with the list of configurations; in the configuration file the list itself will do, too. Without it, built-in ones." placeholder:"FILE"`
	WebhookAllow   []string       `help:"Networks of your own that projects' webhooks may reach, e.g. 10.1.0.0/16; without it only the internet."`
	Links          string         `help:"For whom people may share notebooks and checkpoints by links: anyone; people, who are signed in; none." enum:"anyone,people,none" default:"anyone"`
	LogLevel       slog.Level     `help:"debug, info, warn or error." default:"info"`

	Fault []string `help:"Inject a fault: STEP=kill|fail|containerd. For tests." hidden:"" env:"-"`
}

const shutdownGrace = 5 * time.Second

// Run implements the command.
func (c *serveCmd) Run(ctx context.Context, stdout io.Writer) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel}))
	slog.SetDefault(log)
	base := strings.TrimRight(c.BasePath, "/")
	if base != "" && base[0] != '/' {
		return errors.New("--base-path begins with a slash")
	}
	proxies, err := parsePrefixes("--trusted-proxies", c.TrustedProxies)
	if err != nil {
		return err
	}
	hooks, err := parsePrefixes("--webhook-allow", c.WebhookAllow)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", c.Listen) // first of all: a taken port should cost nothing
	if err != nil {
		return err
	}
	defer ln.Close()
	if err := checkAppsURL(c.AppsURL); err != nil {
		return err
	}
	appsLn, err := c.listenForApps()
	if err != nil {
		return err
	}
	if appsLn != nil {
		defer appsLn.Close()
	}
	w, err := c.open(ctx, log)
	if err != nil {
		return err
	}
	defer w.close()
	if c.AppsListen == "" {
		if appsLn, err = listenBeside(ln, c.Listen, w.Data, log); err != nil {
			return err
		}
		defer appsLn.Close()
	}
	apps, err := c.apps(w.Data, ln, appsLn)
	if err != nil {
		return err
	}
	if w.archive, err = c.archive(ctx, w.Data, w.store); err != nil {
		return err
	}
	supervised, unsupervise := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { w.daemon.Supervise(supervised) })
	defer wg.Wait()
	defer unsupervise()
	h, err := w.hub(ctx, hub.Config{
		Configurations: c.Configurations.list, IdleAfter: c.Idle, StoreAfter: c.StoreAfter, AutosaveAfter: c.Autosave, AutosaveMemory: c.AutosaveMemory,
		NodeIdleAfter: c.NodeIdle, Overcommit: hub.Overcommit{Memory: c.Overcommit, CPUs: c.OvercommitCPUs}, Quota: hub.Quota{Project: c.QuotaProject, User: c.QuotaUser},
		Files:        hub.FilesLimits{Each: c.FilesEach, Total: c.FilesTotal, Packages: c.FilesPackages},
		JournalQuota: c.JournalQuota, Templates: c.Templates, Links: c.Links, Fault: w.faults(c.Fault), Poster: webhook.New(hooks),
	})
	if err != nil {
		return err
	}
	defer h.Close()
	debug.FreeOSMemory() // what was needed to get here, and is not any more
	first, err := h.FirstStart(ctx)
	if err != nil {
		return err
	}
	start := ""
	if first.PasswordHash == "" {
		start = hub.Secret()
	}
	doctor := cached(time.Minute, func(ctx context.Context) []machine.Finding {
		return append(w.doctor(ctx).Examine(ctx), outlook(ctx, c.dataFlags))
	})
	srv, err := server.New(server.Options{
		Hub: h, Apps: apps, Lab: web.Lab(), Base: base, Proxies: proxies, Hosts: c.Host, Loopback: onLoopback(ln), First: first, Start: start, Version: version, Log: log, Trees: w.trees,
		LabExtensions: w.labExtensions(ctx), LabOperator: os.DirFS(filepath.Join(w.Data, "labconfig")),
		Seed:   tour.Write,
		Doctor: func(ctx context.Context) []api.Finding { return append(findings(doctor(ctx)), ledgerFinding(ctx, h)) },
		Ready:  w.ready,
	})
	if err != nil {
		return err
	}
	doors := []door{{ln, srv}}
	if apps != nil {
		doors = append(doors, door{appsLn, srv.AppsHandler()})
	}
	return c.listen(ctx, doors, log, func(scheme string) {
		url := scheme + "://" + address(ln, c.Listen) + base
		fmt.Fprintf(stdout, "ready: %s\n", url)
		if apps != nil {
			fmt.Fprintf(stdout, "applications: port %d\n", apps.Port)
		}
		if start != "" {
			fmt.Fprintf(stdout, "sign in as the administrator: %s/?token=%s\n", url, start)
		}
	})
}

// door is an address and what answers there.
type door struct {
	net.Listener
	handler http.Handler
}

// listen serves until ctx ends, then gives requests under way a moment. Kernels
// stay.
func (c *serveCmd) listen(ctx context.Context, doors []door, log *slog.Logger, ready func(scheme string)) error {
	scheme := "http"
	if c.TLSCert != "" || c.TLSKey != "" {
		keys := &keyPair{cert: c.TLSCert, key: c.TLSKey}
		if _, err := keys.get(nil); err != nil {
			return err
		}
		for i := range doors {
			doors[i].Listener = tls.NewListener(doors[i].Listener, &tls.Config{GetCertificate: keys.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
		}
		scheme = "https"
	}
	done := make(chan error, len(doors))
	var servers []*http.Server
	var wg sync.WaitGroup
	for _, d := range doors {
		srv := &http.Server{
			Handler: d.handler, ReadHeaderTimeout: 20 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
			ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
			BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		}
		servers = append(servers, srv)
		wg.Go(func() { done <- srv.Serve(d.Listener) })
	}
	ready(scheme)
	var failed error
	select {
	case failed = <-done:
	case <-ctx.Done():
		log.Info("stopping; kernels stay")
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	for _, srv := range servers {
		wg.Go(func() {
			if err := srv.Shutdown(grace); err != nil {
				srv.Close()
			}
		})
	}
	wg.Wait()
	return failed
}

// address is what a person can open: a wildcard becomes this machine.
func address(ln net.Listener, asked string) string {
	host, _, err := net.SplitHostPort(asked)
	if err != nil {
		return ln.Addr().String()
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return ln.Addr().String()
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// ready reports whether a kernel could be started.
func (w *world) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if ok, err := w.client.IsServing(ctx); err != nil || !ok {
		return fault.Wrap(fault.Unavailable, "containerd", "containerd does not answer.", err)
	}
	return w.noImage
}

func parsePrefixes(flag string, list []string) (out []netip.Prefix, err error) {
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return nil, fmt.Errorf("%s: %w", flag, err)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// keyPair is a certificate that is read again when its file changes.
type keyPair struct {
	cert, key string
	mu        sync.Mutex
	read      time.Time
	pair      *tls.Certificate
}

func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	st, err := os.Stat(k.cert)
	if err == nil && k.pair != nil && !st.ModTime().After(k.read) {
		return k.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		if k.pair != nil {
			return k.pair, nil // half-written: the old one goes on
		}
		return nil, fmt.Errorf("certificate %s: %w", filepath.Base(k.cert), err)
	}
	k.pair = &pair
	if st != nil {
		k.read = st.ModTime()
	}
	return k.pair, nil
}

// cached calls fn at most once in every interval.
func cached(every time.Duration, fn func(context.Context) []machine.Finding) func(context.Context) []machine.Finding {
	var mu sync.Mutex
	var last time.Time
	var value []machine.Finding
	return func(ctx context.Context) []machine.Finding {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) > every {
			value, last = fn(ctx), time.Now()
		}
		return value
	}
}

func findings(list []machine.Finding) []api.Finding {
	var out []api.Finding
	for _, f := range list {
		out = append(out, api.Finding{Code: f.Code, Status: f.Status, Title: f.Title, Detail: f.Detail, Fix: f.Fix})
	}
	return out
}

// ledgerFinding says whether the books of compute are in order.
func ledgerFinding(ctx context.Context, h *hub.Hub) api.Finding {
	f := api.Finding{Code: "ledger", Status: "ok", Title: "Ledger of compute"}
	n, wrong, err := h.CheckLedger(ctx)
	switch {
	case err != nil:
		f.Status, f.Detail = "warn", "It could not be checked: "+fault.Sentence(err)
	case len(wrong) > 0:
		f.Status, f.Detail = "fail", fmt.Sprintf("Of %d intervals some are wrong: %s.", n, strings.Join(wrong[:min(len(wrong), 5)], "; "))
		f.Fix = "Check again in a minute, as what is just starting or ending may look like this. If it stays, keep a copy of cellar.db, restart the hub, and report it."
	default:
		f.Detail = fmt.Sprintf("%d intervals; none overlap, and what is open runs.", n)
	}
	return f
}
