package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/server/hub"
)

// InSpan chooses what a report is about.
type InSpan struct {
	Project string    `query:"project" doc:"of this project; without it, of all mine, an administrator's: of all"`
	User    string    `query:"user" doc:"ID of the person whose it is; others than oneself are for administrators"`
	From    time.Time `query:"from" doc:"RFC 3339; without it, the first of this month in UTC"`
	To      time.Time `query:"to" doc:"without it, now"`
}

// usedView is a line of a report.
type usedView struct {
	Key     string  `json:"key" doc:"ID of the kernel, node, project or user; a day of UTC as 2006-01-02"`
	Name    string  `json:"name" doc:"the notebook of a kernel, the name of a node, project or user; empty when it is gone"`
	Project string  `json:"project,omitempty" doc:"of a kernel or node"`
	Seconds float64 `json:"seconds" doc:"that a configuration was held"`
	Units   float64 `json:"units"`
	Held    int     `json:"held" doc:"configurations held now"`
}

type usageReport struct {
	From    time.Time  `json:"from"`
	To      time.Time  `json:"to"`
	By      hub.By     `json:"by"`
	Seconds float64    `json:"seconds"`
	Units   float64    `json:"units"`
	Items   []usedView `json:"items"`
}

type limitsBody struct {
	Run   float64 `json:"run,omitempty" minimum:"0" maximum:"1000000000" doc:"units in one run of one cell; 0 or left out: no limit"`
	Hour  float64 `json:"hour,omitempty" minimum:"0" maximum:"1000000000" doc:"in an hour of the clock, UTC"`
	Day   float64 `json:"day,omitempty" minimum:"0" maximum:"1000000000"`
	Month float64 `json:"month,omitempty" minimum:"0" maximum:"1000000000"`
}

func (b limitsBody) limits() hub.Limits {
	return hub.Limits{Run: hub.UnitsOf(b.Run), Hour: hub.UnitsOf(b.Hour), Day: hub.UnitsOf(b.Day), Month: hub.UnitsOf(b.Month)}
}

// standing is how somebody stands with their limits.
type standing struct {
	Limits limitsView `json:"limits" doc:"0: none"`
	Used   usedNow    `json:"used"`
}

type limitsView struct {
	Run   float64 `json:"run"`
	Hour  float64 `json:"hour"`
	Day   float64 `json:"day"`
	Month float64 `json:"month"`
}

type usedNow struct {
	Hour  float64 `json:"hour" doc:"in the present hour, UTC"`
	Day   float64 `json:"day"`
	Month float64 `json:"month"`
}

type projectLimits struct {
	Project standing        `json:"project"`
	User    standing        `json:"user" doc:"its owner, over all projects"`
	News    []hub.LimitNews `json:"news" doc:"which limits of these are near, from four fifths on, or reached"`
}

func (x *api) standing(of hub.Scope) standing {
	l, used := x.Hub.LimitsOf(of), x.Hub.UsedBy(of)
	return standing{
		limitsView{l.Run.Number(), l.Hour.Number(), l.Day.Number(), l.Month.Number()},
		usedNow{used[hub.WindowHour].Number(), used[hub.WindowDay].Number(), used[hub.WindowMonth].Number()},
	}
}

func (x *api) projectLimits(p hub.Project) *body[projectLimits] {
	return &body[projectLimits]{projectLimits{x.standing(projectScope(p)), x.standing(userScope(p.Owner)), x.Hub.News(p)}}
}

func projectScope(p hub.Project) hub.Scope { return hub.Scope{Kind: hub.ScopeProject, ID: p.ID} }

func userScope(id string) hub.Scope { return hub.Scope{Kind: hub.ScopeUser, ID: id} }

// span is what a person may see of what they ask for.
func (x *api) span(ctx context.Context, in InSpan) (q hub.LedgerQuery, err error) {
	u, err := x.user(ctx)
	if err != nil {
		return q, err
	}
	now := time.Now().UTC()
	q = hub.LedgerQuery{From: in.From.UTC(), To: in.To.UTC(), Owner: in.User}
	if in.To.IsZero() {
		q.To = now
	}
	if in.From.IsZero() {
		q.From = time.Date(q.To.Year(), q.To.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	if err := hub.CheckSpan(q.From, q.To); err != nil {
		return q, err
	}
	switch {
	case in.User != "" && in.User != u.ID && !u.Admin:
		return q, errAdmin
	case in.Project != "":
		p, err := x.Hub.MayOpen(ctx, u, in.Project)
		if err != nil {
			return q, err
		}
		q.Project, q.From = p.ID, p.SinceMade(q.From)
		if !q.To.After(q.From) {
			q.To = q.From.Add(time.Millisecond) // it was not there yet: nothing
		}
	case !u.Admin:
		q.Owner = u.ID
	}
	return q, nil
}

func (x *api) units() {
	add(x, get, "/usage", "What my compute has cost, or that of a project", ok, func(ctx context.Context, in *struct {
		InSpan
		By string `query:"by" default:"day" enum:"kernel,node,project,user,day"`
	}) (*body[usageReport], error) {
		q, err := x.span(ctx, in.InSpan)
		if err != nil {
			return nil, err
		}
		list, err := x.Hub.Report(ctx, q, hub.By(in.By))
		r := usageReport{From: q.From, To: q.To, By: hub.By(in.By), Items: []usedView{}}
		var ms int64
		var units hub.Units
		for _, u := range list {
			ms, units = ms+u.Milliseconds, units+u.Units
			r.Items = append(r.Items, usedView{u.Key, u.Name, u.Project, float64(u.Milliseconds) / 1000, u.Units.Number(), u.Held})
		}
		r.Seconds, r.Units = float64(ms)/1000, units.Number()
		return &body[usageReport]{r}, err
	})
	add(x, get, "/usage.csv", "The same as a table, or the ledger itself", ok, func(ctx context.Context, in *struct {
		InSpan
		By string `query:"by" enum:"kernel,node,project,user,day" doc:"without it, every interval of the ledger"`
	}) (*text, error) {
		q, err := x.span(ctx, in.InSpan)
		if err != nil {
			return nil, err
		}
		write := x.reportCSV
		if in.By == "" {
			write = x.ledgerCSV
		}
		b, err := write(ctx, q, hub.By(in.By))
		return &text{"text/csv; charset=utf-8", `attachment; filename="usage.csv"`, b}, err
	})
	add(x, get, "/projects/{p}/limits", "What a project may use, and has used", ok, func(ctx context.Context, in *InProject) (*body[projectLimits], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		return x.projectLimits(p), nil
	})
	add(x, put, "/projects/{p}/limits", "Limit what a project may use", ok, func(ctx context.Context, in *struct {
		InProject
		Body limitsBody
	}) (*body[projectLimits], error) {
		_, p, err := x.project(ctx, in.P)
		if err == nil {
			err = x.Hub.SetLimits(ctx, projectScope(p), in.Body.limits())
		}
		if err != nil {
			return nil, err
		}
		return x.projectLimits(p), nil
	})
	add(x, get, "/users/{u}/limits", "What a person may use, and has used", ok, func(ctx context.Context, in *struct {
		U string `path:"u" doc:"ID of the person"`
	}) (*body[standing], error) {
		who, err := x.user(ctx)
		if err == nil && who.ID != in.U {
			if _, err = x.admin(ctx); err == nil {
				_, err = x.person(ctx, in.U)
			}
		}
		return &body[standing]{x.standing(userScope(in.U))}, err
	})
	add(x, put, "/users/{u}/limits", "Limit what a person may use", ok, func(ctx context.Context, in *struct {
		U    string `path:"u" doc:"ID of the person"`
		Body limitsBody
	}) (*body[standing], error) {
		_, err := x.admin(ctx)
		if err == nil {
			_, err = x.person(ctx, in.U)
		}
		if err == nil {
			err = x.Hub.SetLimits(ctx, userScope(in.U), in.Body.limits())
		}
		return &body[standing]{x.standing(userScope(in.U))}, err
	})
}

func (x *api) person(ctx context.Context, id string) (hub.User, error) {
	u, err := x.Hub.Store.UserByID(ctx, id)
	if errors.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "user_not_found", "There is no person by that ID.")
	}
	return u, err
}

func (x *api) reportCSV(ctx context.Context, q hub.LedgerQuery, by hub.By) ([]byte, error) {
	list, err := x.Hub.Report(ctx, q, by)
	if err != nil {
		return nil, err
	}
	rows := [][]string{{string(by), "name", "project", "seconds", "units"}}
	for _, u := range list {
		rows = append(rows, []string{u.Key, cell(u.Name), u.Project, seconds(u.Milliseconds), u.Units.String()})
	}
	return writeCSV(rows)
}

// maxIntervals bounds how much of the ledger is told at once.
const maxIntervals = 100_000

// ledgerCSV is every interval, whole: also what of it is before or after the span.
func (x *api) ledgerCSV(ctx context.Context, q hub.LedgerQuery, _ hub.By) ([]byte, error) {
	rows := [][]string{{"id", "began", "ended", "seconds", "units", "kind", "holder", "container", "node", "project", "owner", "configuration", "units_per_second", "why", "by", "why_ended", "inferred"}}
	people := map[string]string{}
	users, err := x.Hub.Store.Users(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		people[u.ID] = u.Name
	}
	err = x.Hub.Entries(ctx, q, func(e hub.Entry) error {
		if len(rows) > maxIntervals {
			return fault.Newf(fault.Exhausted, "too_many_lines", "There are more than %d intervals. Ask for a shorter time.", maxIntervals)
		}
		ended := ""
		if !e.Open {
			ended = e.Ended.Format(stamp)
		}
		rows = append(rows, []string{
			strconv.FormatInt(e.ID(), 10), e.Began.Format(stamp), ended, seconds(e.Milliseconds()), e.Units.String(), e.Kind, e.Holder, e.Container, e.Node, e.Project, cell(people[e.Owner]),
			cell(e.Configuration), hub.Units(e.Price * 1000).String(), e.Holding.Why, cell(e.By), e.Release.Why, strconv.FormatBool(e.Inferred),
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return writeCSV(rows)
}

// stamp is a moment to the millisecond.
const stamp = "2006-01-02T15:04:05.000Z07:00"

// seconds writes milliseconds exactly.
func seconds(ms int64) string { return fmt.Sprintf("%d.%03d", ms/1000, ms%1000) }

// cell keeps a spreadsheet from taking what somebody has named for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func writeCSV(rows [][]string) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll(rows); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
