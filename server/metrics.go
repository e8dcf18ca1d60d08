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
	calls    *prometheus.CounterVec
	codes    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(h *hub.Hub) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cellar_http_request_seconds", Help: "Requests by method and status.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 10)}, []string{"method", "status"}),
		calls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "node_requests", Help: "Calls of nodes."}, []string{"project", "node"}),
		codes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "node_http_codes", Help: "Answers of nodes by status."}, []string{"project", "node", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "node_request_durations", Help: "Seconds a call took.", Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 12)}, []string{"project", "node"}),
	}
	states := prometheus.NewDesc("cellar_kernels", "Kernels by state.", []string{"state"}, nil)
	m.registry.MustRegister(m.requests, m.calls, m.codes, m.duration, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
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

func (m *metrics) call(n hub.Node, err error, took time.Duration) {
	code := http.StatusOK
	if err != nil {
		code = statusOf(err)
	}
	m.calls.WithLabelValues(n.Project, n.ID).Inc()
	m.codes.WithLabelValues(n.Project, n.ID, strconv.Itoa(code)).Inc()
	m.duration.WithLabelValues(n.Project, n.ID).Observe(took.Seconds())
}
