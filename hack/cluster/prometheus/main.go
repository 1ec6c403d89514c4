// Command monitoring-verdict reads objects of the Prometheus Operator, one JSON document a line on its standard input,
// by that operator's own types, and fails on a field that those do not know.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

func main() {
	if err := verdict(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func verdict(input io.Reader) error {
	documents := json.NewDecoder(input)
	for {
		var raw json.RawMessage
		if err := documents.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var about struct {
			Kind string `json:"kind"`
		}
		if err := json.Unmarshal(raw, &about); err != nil {
			return err
		}
		kinds := map[string]any{
			monitoring.ServiceMonitorsKind: &monitoring.ServiceMonitor{},
			monitoring.PodMonitorsKind:     &monitoring.PodMonitor{},
			monitoring.PrometheusRuleKind:  &monitoring.PrometheusRule{},
		}
		object, known := kinds[about.Kind]
		if !known {
			return fmt.Errorf("kind %q: expected ServiceMonitor, PodMonitor or PrometheusRule", about.Kind)
		}
		strict := json.NewDecoder(bytes.NewReader(raw))
		strict.DisallowUnknownFields()
		if err := strict.Decode(object); err != nil {
			return fmt.Errorf("%s: %w", about.Kind, err)
		}
	}
}
