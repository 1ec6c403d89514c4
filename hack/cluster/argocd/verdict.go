package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/v3/pkg/apiclient/application"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo/diff"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
)

const namespace = "argocd"

// asked is what gitops-verdict reads from standard input: the settings of Argo CD and the questions.
type asked struct {
	// Settings is the data of the ConfigMap argocd-cm.
	Settings  map[string]string `json:"settings"`
	Questions []question        `json:"questions"`
}

// question is one question about an object.
type question struct {
	// Verdict is one of health, actions, action, diff and kstatus.
	Verdict string         `json:"verdict"`
	Object  map[string]any `json:"object"`
	// Action is the action to run, and Parameters are its parameters.
	Action     string            `json:"action"`
	Parameters map[string]string `json:"parameters"`
	// Desired is the object as git has it, for diff; Object is the live one then.
	Desired map[string]any `json:"desired"`
	// Ignore is spec.ignoreDifferences of an Application, for diff.
	Ignore v1alpha1.IgnoreDifferences `json:"ignoreDifferences"`
}

// answer is the answer to one question; Error is the engine's own words where it could not answer.
type answer struct {
	Status   string                    `json:"status,omitempty"`
	Message  string                    `json:"message,omitempty"`
	Actions  []v1alpha1.ResourceAction `json:"actions,omitempty"`
	Objects  []map[string]any          `json:"objects,omitempty"`
	Modified bool                      `json:"modified,omitempty"`
	Error    string                    `json:"error,omitempty"`
}

// verdict answers the questions on standard input in their order, as Argo CD and Flux would.
func verdict() error {
	logrus.SetOutput(io.Discard)
	var read asked
	if err := json.NewDecoder(os.Stdin).Decode(&read); err != nil {
		return fmt.Errorf("read the questions: %w", err)
	}
	overrides, err := overridesOf(read.Settings)
	if err != nil {
		return fmt.Errorf("read argocd-cm: %w", err)
	}
	answers := make([]answer, 0, len(read.Questions))
	for _, one := range read.Questions {
		found, err := one.ask(overrides)
		if err != nil {
			found.Error = err.Error()
		}
		answers = append(answers, found)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

// overridesOf reads resource customisations with Argo CD's own reader of its settings.
func overridesOf(data map[string]string) (map[string]v1alpha1.ResourceOverride, error) {
	labels := map[string]string{"app.kubernetes.io/part-of": "argocd"}
	client := fake.NewClientset(
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "argocd-cm", Namespace: namespace, Labels: labels}, Data: data},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "argocd-secret", Namespace: namespace, Labels: labels},
			Data:       map[string][]byte{"server.secretkey": []byte("unused")},
		},
	)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	return settings.NewSettingsManager(ctx, client, namespace).GetResourceOverrides()
}

func (one question) ask(overrides map[string]v1alpha1.ResourceOverride) (answer, error) {
	object := &unstructured.Unstructured{Object: integers(one.Object)}
	vm := lua.VM{ResourceOverrides: overrides}
	switch one.Verdict {
	case "health":
		found, err := health.GetResourceHealth(object, lua.ResourceHealthOverrides(overrides))
		if found == nil {
			return answer{}, err
		}
		return answer{Status: string(found.Status), Message: found.Message}, err
	case "actions":
		scripts, err := vm.GetResourceActionDiscovery(object)
		if err != nil {
			return answer{}, err
		}
		found, err := vm.ExecuteResourceActionDiscovery(object, scripts)
		sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
		return answer{Actions: found}, err
	case "action":
		return one.act(vm, object)
	case "diff":
		return one.compare(overrides, object)
	case "kstatus":
		found, err := status.Compute(object)
		if err != nil {
			return answer{}, err
		}
		return answer{Status: found.Status.String(), Message: found.Message}, nil
	}
	return answer{}, fmt.Errorf("verdict %q is not known: expected health, actions, action, diff or kstatus", one.Verdict)
}

func (one question) act(vm lua.VM, object *unstructured.Unstructured) (answer, error) {
	action, err := vm.GetResourceAction(object, one.Action)
	if err != nil {
		return answer{}, err
	}
	var parameters []*application.ResourceActionParameters
	for name, value := range one.Parameters {
		parameters = append(parameters, &application.ResourceActionParameters{Name: &name, Value: &value})
	}
	impacted, err := vm.ExecuteResourceAction(object, action.ActionLua, parameters)
	found := answer{}
	for _, each := range impacted {
		found.Objects = append(found.Objects, each.UnstructuredObj.Object)
	}
	return found, err
}

// compare is the application controller's own comparison of what git has with what the cluster has.
func (one question) compare(overrides map[string]v1alpha1.ResourceOverride, live *unstructured.Unstructured) (answer, error) {
	config, err := diff.NewDiffConfigBuilder().
		WithDiffSettings(one.Ignore, overrides, false, normalizers.IgnoreNormalizerOpts{}).
		WithTracking("app.kubernetes.io/instance", "annotation").
		WithNoCache().
		Build()
	if err != nil {
		return answer{}, err
	}
	desired := &unstructured.Unstructured{Object: integers(one.Desired)}
	result, err := diff.StateDiff(live, desired, config)
	if err != nil {
		return answer{}, err
	}
	return answer{Modified: result.Modified, Message: string(result.NormalizedLive) + "\n" + string(result.PredictedLive)}, nil
}

// integers are an object's whole numbers as int64, as the client of the API server decodes them.
func integers(object map[string]any) map[string]any {
	data, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	decoded := &unstructured.Unstructured{}
	if err := decoded.UnmarshalJSON(data); err != nil {
		return object
	}
	return decoded.Object
}
