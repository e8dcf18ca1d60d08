package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cellar/server/hub"
)

type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	nodes    callMetrics
	aliases  callMetrics
}

// callMetrics are what is told of calls, by project and by what was called.
type callMetrics struct {
	calls    *prometheus.CounterVec
	codes    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newCallMetrics(what, many string) callMetrics {
	labels := []string{"project", what}
	return callMetrics{
		calls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: what + "_requests", Help: "Calls of " + many + "."}, labels),
		codes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: what + "_http_codes", Help: "Answers of " + many + " by status."}, append(labels, "code")),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: what + "_request_durations", Help: "Seconds a call took.", Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 12)}, labels),
	}
}

func (m callMetrics) count(project, id string, code int, took time.Duration) {
	m.calls.WithLabelValues(project, id).Inc()
	m.codes.WithLabelValues(project, id, strconv.Itoa(code)).Inc()
	m.duration.WithLabelValues(project, id).Observe(took.Seconds())
}

// forget drops what was counted of something that is deleted.
func (m callMetrics) forget(label, value string) {
	of := prometheus.Labels{label: value}
	m.calls.DeletePartialMatch(of)
	m.codes.DeletePartialMatch(of)
	m.duration.DeletePartialMatch(of)
}

func newMetrics(h *hub.Hub) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cellar_http_request_seconds", Help: "Requests by method and status.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 10)}, []string{"method", "status"}),
		nodes:    newCallMetrics("node", "nodes"),
		aliases:  newCallMetrics("alias", "aliases"),
	}
	states := prometheus.NewDesc("cellar_kernels", "Kernels by state.", []string{"state"}, nil)
	m.registry.MustRegister(m.requests, m.nodes.calls, m.nodes.codes, m.nodes.duration, m.aliases.calls, m.aliases.codes, m.aliases.duration, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{states, func(ch chan<- prometheus.Metric) {
			n := map[string]int{}
			for _, l := range h.LiveOf("") {
				n[string(l.Record().State)]++
			}
			for state, count := range n {
				ch <- prometheus.MustNewConstMetric(states, prometheus.GaugeValue, float64(count), state)
			}
		}})
	return m
}

type collector struct {
	desc    *prometheus.Desc
	collect func(chan<- prometheus.Metric)
}

func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }
func (c collector) Collect(ch chan<- prometheus.Metric) { c.collect(ch) }

func (m *metrics) request(r *http.Request, status int, took time.Duration) {
	method := r.Method
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		method = "other" // a stranger must not make labels
	}
	m.requests.WithLabelValues(method, strconv.Itoa(status)).Observe(took.Seconds())
}

// count tells of an answer for the node that gave it, and for the alias it was asked
// through.
func (s *Server) count(c hub.Called, by hub.Answer, status int, took time.Duration) {
	n := c.Node
	if c.Alias.ID != "" {
		n = by.Node
		s.metrics.aliases.count(c.Alias.Project, c.Alias.ID, status, took)
		s.hub.Note(c.Alias.ID, status, took)
	}
	if n.ID != "" {
		s.metrics.nodes.count(n.Project, n.ID, status, took)
		s.hub.Note(n.ID, status, took)
	}
}
