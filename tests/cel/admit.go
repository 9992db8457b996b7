package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistration "k8s.io/api/admissionregistration/v1"
	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	plugin "k8s.io/apiserver/pkg/admission/plugin/cel"
	config "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

// A write that a policy decides about. An empty object is null.
type write struct {
	User      string         `json:"user"`
	OldObject map[string]any `json:"oldObject"`
	Object    map[string]any `json:"object"`
}

// Prints, for each write, the messages of the policy's validations that refuse it, as JSON. Which resources a policy
// matches, and a request's other fields than the user, are not evaluated.
func admit(folder, name string) error {
	var asked struct {
		Values map[string]any `json:"values"`
		Writes []write        `json:"writes"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return fmt.Errorf("writes: %w", err)
	}
	documents, err := render(folder, asked.Values)
	if err != nil {
		return err
	}
	for _, document := range documents {
		if !strings.Contains(document, "kind: ValidatingAdmissionPolicy\n") {
			continue
		}
		var policy admissionregistration.ValidatingAdmissionPolicy
		if err := yaml.UnmarshalStrict([]byte(document), &policy); err != nil {
			return err
		}
		if policy.Name == name {
			return decide(policy.Spec, asked.Writes)
		}
	}
	return fmt.Errorf("the chart has no policy %s", name)
}

func decide(spec admissionregistration.ValidatingAdmissionPolicySpec, writes []write) error {
	options := plugin.OptionalVariableDeclarations{HasAuthorizer: true, StrictCost: true}
	compiler, err := plugin.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion(), true))
	if err != nil {
		return err
	}
	for _, each := range spec.Variables {
		variable := expression{each.Name, each.Expression, []*cel.Type{cel.AnyType, cel.DynType}}
		compiler.CompileAndStoreVariable(variable, options, environment.NewExpressions)
	}
	var expressions, said []plugin.ExpressionAccessor
	for _, each := range spec.MatchConditions {
		expressions = append(expressions, expression{each.Name, each.Expression, []*cel.Type{cel.BoolType}})
	}
	for _, each := range spec.Validations {
		message := cmp.Or(each.Message, each.Expression)
		expressions = append(expressions, expression{message, each.Expression, []*cel.Type{cel.BoolType}})
		text := cmp.Or(each.MessageExpression, "''")
		said = append(said, expression{message, text, []*cel.Type{cel.StringType}})
	}
	filter := compiler.Compile(expressions, options, environment.NewExpressions)
	messages := compiler.Compile(said, options, environment.NewExpressions)
	namespace := &core.Namespace{}
	answers := make([][]string, len(writes))
	for i, each := range writes {
		attributes := &admission.VersionedAttributes{
			VersionedOldObject: object(each.OldObject), VersionedObject: object(each.Object),
		}
		request := &admissionv1.AdmissionRequest{UserInfo: authentication.UserInfo{Username: each.User}}
		evaluate := func(what plugin.Filter) ([]plugin.EvaluationResult, error) {
			found, _, err := what.ForInput(context.Background(), attributes, request,
				plugin.OptionalVariableBindings{}, namespace, config.RuntimeCELCostBudget)
			return found, err
		}
		results, err := evaluate(filter)
		if err != nil {
			return err
		}
		texts, err := evaluate(messages)
		if err != nil {
			return err
		}
		answers[i] = []string{}
		for j, result := range results {
			if result.Error != nil {
				return result.Error
			}
			if result.EvalResult == types.True {
				continue
			}
			if j < len(spec.MatchConditions) {
				break
			}
			message := result.ExpressionAccessor.(expression).name
			// As the API server does: an expression that fails is not used.
			if text := texts[j-len(spec.MatchConditions)]; text.Error == nil {
				message = cmp.Or(fmt.Sprint(text.EvalResult.Value()), message)
			}
			answers[i] = append(answers[i], message)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func object(content map[string]any) runtime.Object {
	if content == nil {
		return nil
	}
	return &unstructured.Unstructured{Object: content}
}
