// Evaluates PromQL over scrapes: one JSON object comes in, one goes out. Prometheus' own parsers, storage and engine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

const (
	timeLimit   = time.Minute
	sampleLimit = 50_000_000
)

// One look at a target; its text is empty where it did not answer.
type scrape struct {
	At     float64           `json:"at"`
	Labels map[string]string `json:"labels"`
	Text   string            `json:"text"`
}

// A request: what was scraped, oldest first, and what is asked of it. Times are in seconds.
type request struct {
	Scrapes []scrape `json:"scrapes"`
	Queries []struct {
		Expr  string  `json:"expr"`
		Start float64 `json:"start"`
		End   float64 `json:"end"`
		Step  float64 `json:"step"`
	} `json:"queries"`
}

type series struct {
	Labels map[string]string `json:"labels"`
	Points [][2]*float64     `json:"points"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "promql-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	db, err := tsdb.Open(folder, nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := storeAll(db, asked.Scrapes); err != nil {
		return err
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: sampleLimit, Timeout: timeLimit})
	answers := make([][]series, 0, len(asked.Queries))
	for _, query := range asked.Queries {
		start, end := time.UnixMilli(milliseconds(query.Start)), time.UnixMilli(milliseconds(query.End))
		step := time.Duration(query.Step * float64(time.Second))
		answer, err := evaluate(engine, db, query.Expr, start, end, step)
		if err != nil {
			return fmt.Errorf("%s: %w", query.Expr, err)
		}
		answers = append(answers, answer)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func milliseconds(seconds float64) int64 { return int64(math.Round(seconds * 1000)) }

// storeAll marks a series as stale once its target does not show it any more, as a scrape loop does.
func storeAll(db *tsdb.DB, scrapes []scrape) error {
	shown := map[string]map[uint64]sample{}
	for _, one := range scrapes {
		samples, err := parse(one)
		if err != nil {
			return fmt.Errorf("scrape at %v s: %w", one.At, err)
		}
		target := labels.FromMap(one.Labels).String()
		appender := db.Appender(context.Background())
		for hash, last := range shown[target] {
			if _, there := samples[hash]; !there {
				last.value = math.Float64frombits(value.StaleNaN)
				err = errors.Join(err, last.store(appender, one.At))
			}
		}
		for _, found := range samples {
			err = errors.Join(err, found.store(appender, one.At))
		}
		if err != nil {
			return errors.Join(err, appender.Rollback())
		}
		if err := appender.Commit(); err != nil {
			return err
		}
		shown[target] = samples
	}
	return nil
}

type sample struct {
	labels labels.Labels
	value  float64
}

func (s sample) store(appender storage.Appender, at float64) error {
	_, err := appender.Append(0, s.labels, milliseconds(at), s.value)
	return err
}

func parse(one scrape) (map[uint64]sample, error) {
	parser := textparse.NewPromParser([]byte(one.Text), labels.NewSymbolTable(), false)
	samples := map[uint64]sample{}
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return samples, nil
		}
		if err != nil {
			return nil, err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var found labels.Labels
		parser.Labels(&found)
		builder := labels.NewBuilder(found)
		for name, text := range one.Labels {
			builder.Set(name, text)
		}
		_, _, number := parser.Series()
		all := builder.Labels()
		samples[all.Hash()] = sample{all, number}
	}
}

func evaluate(engine *promql.Engine, db *tsdb.DB, expr string, start, end time.Time, step time.Duration) ([]series, error) {
	query, err := engine.NewRangeQuery(context.Background(), db, nil, expr, start, end, step)
	if err != nil {
		return nil, err
	}
	defer query.Close()
	matrix, err := query.Exec(context.Background()).Matrix()
	if err != nil {
		return nil, err
	}
	answer := make([]series, 0, len(matrix))
	for _, one := range matrix {
		points := make([][2]*float64, 0, len(one.Floats))
		for _, point := range one.Floats {
			at, number := float64(point.T)/1000, point.F
			pair := [2]*float64{&at, &number}
			if math.IsNaN(number) || math.IsInf(number, 0) {
				pair[1] = nil // JSON has no such numbers.
			}
			points = append(points, pair)
		}
		answer = append(answer, series{one.Metric.Map(), points})
	}
	return answer, nil
}
