package rpc_test

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"whisperpush/wnode/rpc/push"
	"whisperpush/wnode/rpc/shh"
	"whisperpush/wnode/rpc/shhext"
)

var update = flag.Bool("update", false, "write docs/rpc.md anew")

// begins is where the part of the page begins that is made here.
const begins = "<!-- What follows is made from the comments and the conversations of the packages:\ngo test ./wnode/rpc -run TestPage -update -->\n"

// docs/rpc.md has every method of the namespaces push, shh and shhext, in the words of its comment, with the first exchange in
// which a conversation calls it and is answered. The conversations are played against real nodes by the tests of the three.
func TestPage(t *testing.T) {
	const path = "../../docs/rpc.md"
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	front, _, ok := strings.Cut(string(written), begins)
	require.True(t, ok, "the page has lost the mark where the made part begins")
	var page strings.Builder
	page.WriteString(front + begins)
	for _, n := range []namespace{
		{push.Namespace, "push", reflect.TypeFor[*push.API]()},
		{shh.Namespace, "shh", reflect.TypeFor[*shh.API]()},
		{shhext.Namespace, "shhext", reflect.TypeFor[*shhext.API]()},
	} {
		n.describe(t, &page)
	}
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(page.String()), 0o644))
		return
	}
	require.Equal(t, page.String(), string(written), "go test ./wnode/rpc -run TestPage -update writes it anew")
}

// namespace is a package with an API.
type namespace struct {
	name, dir string
	api       reflect.Type
}

func (n namespace) describe(t *testing.T, page *strings.Builder) {
	files := token.NewFileSet()
	var parsed []*ast.File
	paths, err := filepath.Glob(n.dir + "/*.go")
	require.NoError(t, err)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
		require.NoError(t, err)
		parsed = append(parsed, file)
	}
	documented, err := doc.NewFromFiles(files, parsed, "whisperpush/wnode/rpc/"+n.dir)
	require.NoError(t, err)

	fmt.Fprintf(page, "\n## The namespace %s\n", n.name)
	exchanges := n.conversations(t)
	served := 0
	for _, of := range documented.Types {
		if of.Name != "API" {
			continue
		}
		for _, m := range of.Methods {
			_, ok := n.api.MethodByName(m.Name)
			require.True(t, ok, m.Name)
			served++
			call := n.name + "_" + lower(m.Name)
			heading, key := call, call
			if returns := m.Decl.Type.Results.List; strings.Contains(fmt.Sprint(typeText(returns[0].Type)), "Subscription") {
				heading = n.name + "_subscribe, " + lower(m.Name)
				key = n.name + `_subscribe","params":["` + lower(m.Name) + `"`
			}
			require.NotEmpty(t, m.Doc, m.Name)
			text := strings.Replace(strings.Join(strings.Fields(m.Doc), " "), m.Name+" ", "", 1)
			fmt.Fprintf(page, "\n### %s\n\n", heading)
			if p := parameters(m.Decl); p != "" {
				fmt.Fprintf(page, "Parameters: %s. ", p)
			}
			fmt.Fprintf(page, "%s%s\n", strings.ToUpper(text[:1]), text[1:])
			example := exchanges.of(key)
			require.NotEmpty(t, example, "no conversation has %s", key)
			fmt.Fprintf(page, "\n```js\n%s```\n", example)
		}
	}
	require.Equal(t, n.api.NumMethod(), served, "methods without a description")

	fmt.Fprintf(page, "\n### Objects of %s\n", n.name)
	for _, of := range documented.Types {
		object, ok := of.Decl.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType)
		if !ok || !ast.IsExported(of.Name) || !strings.Contains(typeText(object), "json:") {
			continue
		}
		fmt.Fprintf(page, "\n%s\n\n", strings.Join(strings.Fields(of.Doc), " "))
		for _, f := range object.Fields.List {
			if f.Tag == nil {
				fmt.Fprintf(page, "- the members of %s\n", typeText(f.Type))
				continue
			}
			name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ",")
			fmt.Fprintf(page, "- `%s`: %s\n", name, strings.TrimSpace(typeText(f.Type)+". "+f.Comment.Text()))
		}
	}
}

// parameters are the names of a method's parameters.
func parameters(m *ast.FuncDecl) string {
	var names []string
	for _, p := range m.Type.Params.List[1:] { // after the context
		for _, name := range p.Names {
			names = append(names, fmt.Sprintf("%s (%s)", name.Name, typeText(p.Type)))
		}
	}
	return strings.Join(names, ", ")
}

// words are types as readers of JSON know them.
var words = map[string]string{
	"string": "text", "bool": "true or false", "hexutil.Bytes": "hexadecimal", "common.Hash": "hash", "whisper.Topic": "topic",
	"uint64": "number", "int64": "number", "uint32": "number", "int": "number", "float64": "number", "json.RawMessage": "object or text",
}

func typeText(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		if word := words[e.Name]; word != "" {
			return word
		}
		return e.Name
	case *ast.SelectorExpr:
		name := typeText(e.X) + "." + e.Sel.Name
		if word := words[name]; word != "" {
			return word
		}
		return name
	case *ast.StarExpr:
		return typeText(e.X)
	case *ast.ArrayType:
		return "list of " + typeText(e.Elt)
	case *ast.StructType:
		var tags strings.Builder
		for _, f := range e.Fields.List {
			if f.Tag != nil {
				tags.WriteString(f.Tag.Value)
			}
		}
		return tags.String()
	}
	return fmt.Sprintf("%T", e)
}

func lower(name string) string {
	return string(unicode.ToLower(rune(name[0]))) + name[1:]
}

// conversation is the lines of conversations, those without comments.
type conversation []string

func (n namespace) conversations(t *testing.T) (lines conversation) {
	paths, err := filepath.Glob(n.dir + "/testdata/*.js")
	require.NoError(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "-->") || strings.HasPrefix(line, "<--") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// of is the first request of a method that has a result, with that, and the notification that follows if it subscribes; of
// a method that needs what no conversation has, a peer, its refusal.
func (c conversation) of(key string) (example string) {
	for i, line := range c {
		if !strings.HasPrefix(line, "-->") || !strings.Contains(line, `"`+key) || !strings.Contains(line, `"`+key+`"`) && !strings.Contains(key, "subscribe") {
			continue
		}
		answer := slices.IndexFunc(c[i:], func(l string) bool { return strings.HasPrefix(l, "<--") && !strings.Contains(l, `"method"`) })
		if answer < 0 {
			continue
		}
		if strings.Contains(c[i+answer], `"error"`) {
			example = cmp.Or(example, line+c[i+answer])
			continue
		}
		example = line + c[i+answer]
		if strings.Contains(key, "subscribe") {
			for _, l := range c[i:] {
				if strings.Contains(l, `_subscription"`) {
					return example + l
				}
			}
		}
		return example
	}
	return example
}
