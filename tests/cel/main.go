// Renders a chart and checks each CRD and ValidatingAdmissionPolicy in it as the API server does that this module's
// k8s.io/apiserver belongs to.
//
//	cel CHART <values.json
//	cel CHART POLICY <writes.json
//
// values.json: a name → values. It prints what was checked, or each fault with its object, and exits with 1.
// writes.json: see admit.go.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	admissionregistration "k8s.io/api/admissionregistration/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	plugin "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

func main() {
	var err error
	if len(os.Args) == 3 {
		err = admit(os.Args[1], os.Args[2])
	} else {
		err = run(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folder string) error {
	var sets map[string]map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&sets); err != nil {
		return fmt.Errorf("values: %w", err)
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	if err := admissionregistration.AddToScheme(scheme); err != nil {
		return err
	}
	codecs := serializer.NewCodecFactory(scheme)
	check := checker{
		decoder: codecs.UniversalDecoder(apiextensions.SchemeGroupVersion, admissionregistration.SchemeGroupVersion),
	}
	seen := map[string]bool{} // most objects are the same with all values
	for name, values := range sets {
		documents, err := render(folder, values)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, document := range documents {
			if !seen[document] {
				seen[document] = true
				check.object(document)
			}
		}
	}
	if len(check.faults) > 0 {
		slices.Sort(check.faults)
		return fmt.Errorf("%s", strings.Join(slices.Compact(check.faults), "\n"))
	}
	fmt.Printf("%d CRDs, %d policies with %d expressions\n", check.crds, check.policies, check.expressions)
	return nil
}

// The chart's documents, as `helm template` writes them for the oldest Kubernetes that the chart allows.
func render(folder string, values map[string]any) ([]string, error) {
	chart, err := loader.LoadDir(folder)
	if err != nil {
		return nil, err
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	version := environment.DefaultCompatibilityVersion()
	minor := version.Minor() + 1 // new expressions may use what the previous minor knows
	capabilities.KubeVersion = chartutil.KubeVersion{
		Version: fmt.Sprintf("v1.%d.0", minor), Major: "1", Minor: fmt.Sprint(minor),
	}
	if !chartutil.IsCompatibleRange(chart.Metadata.KubeVersion, capabilities.KubeVersion.Version) {
		return nil, fmt.Errorf("kubeVersion %q does not allow %s, which this program checks",
			chart.Metadata.KubeVersion, capabilities.KubeVersion.Version)
	}
	release := chartutil.ReleaseOptions{Name: "ocore", Namespace: "ocore-system", IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, values, release, capabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	var documents []string
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") {
			documents = append(documents, strings.Split("\n"+text, "\n---")...)
		}
	}
	return documents, nil
}

type checker struct {
	decoder                     runtime.Decoder
	faults                      []string
	crds, policies, expressions int
}

func (c *checker) fault(object, format string, arguments ...any) {
	c.faults = append(c.faults, object+": "+fmt.Sprintf(format, arguments...))
}

func (c *checker) object(document string) {
	var meta struct {
		Kind     string
		Metadata struct{ Name string }
	}
	if err := yaml.Unmarshal([]byte(document), &meta); err != nil {
		c.fault("a document", "%v", err)
		return
	}
	name := meta.Kind + " " + meta.Metadata.Name
	switch meta.Kind {
	case "CustomResourceDefinition", "ValidatingAdmissionPolicy":
	default:
		return
	}
	content, err := yaml.YAMLToJSONStrict([]byte(document))
	if err != nil {
		c.fault(name, "%v", err)
		return
	}
	found, _, err := c.decoder.Decode(content, nil, nil)
	if err != nil {
		c.fault(name, "%v", err)
		return
	}
	switch object := found.(type) {
	case *apiextensions.CustomResourceDefinition:
		c.crds++
		for _, each := range validation.ValidateCustomResourceDefinition(context.Background(), object) {
			// The API server itself fills these in.
			if !strings.HasPrefix(each.Field, "status.") {
				c.fault(name, "%v", each)
			}
		}
	case *admissionregistration.ValidatingAdmissionPolicy:
		c.policies++
		c.policy(name, object.Spec)
	}
}

// An expression of a policy.
type expression struct {
	name, text string
	returns    []*cel.Type
}

func (e expression) GetName() string          { return e.name }
func (e expression) GetExpression() string    { return e.text }
func (e expression) ReturnTypes() []*cel.Type { return e.returns }

func (c *checker) policy(name string, spec admissionregistration.ValidatingAdmissionPolicySpec) {
	environments := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion(), true)
	options := plugin.OptionalVariableDeclarations{HasParams: spec.ParamKind != nil, HasAuthorizer: true, StrictCost: true}
	boolean, text := []*cel.Type{cel.BoolType}, []*cel.Type{cel.StringType}
	report := func(where, text string, result plugin.CompilationResult) {
		c.expressions++
		if result.Error != nil {
			c.fault(name, "%s %s: %s", where, text, result.Error.Detail)
		}
	}
	plain := plugin.NewCompiler(environments) // a condition has no variables
	for _, each := range spec.MatchConditions {
		report("matchCondition "+each.Name, each.Expression,
			plain.CompileCELExpression(expression{each.Name, each.Expression, boolean}, options, environment.NewExpressions))
	}
	compiler, err := plugin.NewCompositedCompiler(environments)
	if err != nil {
		c.fault(name, "%v", err)
		return
	}
	for _, each := range spec.Variables {
		variable := expression{each.Name, each.Expression, []*cel.Type{cel.AnyType, cel.DynType}}
		report("variable "+each.Name, each.Expression,
			compiler.CompileAndStoreVariable(variable, options, environment.NewExpressions))
	}
	for _, each := range spec.Validations {
		report("validation", each.Expression,
			compiler.CompileCELExpression(expression{"", each.Expression, boolean}, options, environment.NewExpressions))
		if each.MessageExpression != "" {
			withoutAuthorizer := options
			withoutAuthorizer.HasAuthorizer = false
			message := expression{"", each.MessageExpression, text}
			report("messageExpression", each.MessageExpression,
				compiler.CompileCELExpression(message, withoutAuthorizer, environment.NewExpressions))
		}
	}
	for _, each := range spec.AuditAnnotations {
		annotation := expression{"", each.ValueExpression, append(text, cel.NullType)}
		report("auditAnnotation "+each.Key, each.ValueExpression,
			compiler.CompileCELExpression(annotation, options, environment.NewExpressions))
	}
}
