package config

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// source is where the comments of the dump come from: the fields' own, so that there is one text for both.
//
//go:embed config.go
var source string

// Dump writes c as a TOML file with a comment above each key. Load reads the same settings back.
func Dump(w io.Writer, c Config) error {
	comments, err := fieldComments()
	if err != nil {
		return err
	}
	d := &dumper{comments: comments}
	d.text.WriteString("# Settings of a whisperpush node. Use it with: wnode --config FILE\n")
	if err := d.table("", reflect.ValueOf(c)); err != nil {
		return err
	}
	_, err = io.WriteString(w, d.text.String())
	return err
}

type dumper struct {
	comments map[string]string // by "Struct.Field"
	text     strings.Builder
}

// table writes the keys of struct v, then its tables. path is v's own table name, empty at the root.
func (d *dumper) table(path string, v reflect.Value) error {
	t := v.Type()
	var tables []reflect.StructField
	for field := range fieldsOf(t) {
		if field.Type.Kind() == reflect.Struct || field.Type == reflect.TypeFor[[]Provider]() {
			tables = append(tables, field)
			continue
		}
		d.comment(t.Name() + "." + field.Name)
		if err := d.encode(map[string]any{field.Name: v.FieldByIndex(field.Index).Interface()}); err != nil {
			return err
		}
	}
	for _, field := range tables {
		name := strings.TrimPrefix(path+"."+field.Name, ".")
		d.text.WriteByte('\n')
		d.comment(t.Name() + "." + field.Name)
		value := v.FieldByIndex(field.Index)
		if providers, ok := value.Interface().([]Provider); ok {
			if err := d.providers(name, providers); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(&d.text, "[%s]\n", name)
		if err := d.table(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) providers(name string, providers []Provider) error {
	for _, p := range providers {
		fmt.Fprintf(&d.text, "[[%s]]\n", name)
		for _, pair := range []struct {
			key   string
			value any
		}{{"Name", p.Name}, {"Type", p.Type}, {"Burst", p.Burst}, {"Every", p.Every}, {"Rate", p.Rate}, {"Info", p.Info}} {
			if pair.key != "Name" && pair.key != "Type" && reflect.ValueOf(pair.value).IsZero() {
				continue // not given
			}
			if err := d.encode(map[string]any{pair.key: pair.value}); err != nil {
				return err
			}
		}
		if err := d.options(name, p.Options); err != nil {
			return err
		}
	}
	return nil
}

// options writes plain keys before tables, and tables under their full name.
func (d *dumper) options(path string, options map[string]any) error {
	var tables []string
	for _, key := range sortedKeys(options) {
		if _, isTable := options[key].(map[string]any); isTable {
			tables = append(tables, key)
			continue
		}
		if err := d.encode(map[string]any{key: options[key]}); err != nil {
			return err
		}
	}
	for _, key := range tables {
		name := path + "." + toml.Key{key}.String()
		fmt.Fprintf(&d.text, "[%s]\n", name)
		if err := d.options(name, options[key].(map[string]any)); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (d *dumper) encode(pair map[string]any) error {
	if err := toml.NewEncoder(&d.text).Encode(pair); err != nil {
		return fmt.Errorf("dump settings: %w", err)
	}
	return nil
}

func (d *dumper) comment(field string) {
	for line := range strings.Lines(d.comments[field]) {
		d.text.WriteString(strings.TrimRight("# "+strings.TrimRight(line, "\n"), " ") + "\n")
	}
}

// fieldComments reads the comment of each field in config.go, by "Struct.Field".
func fieldComments() (map[string]string, error) {
	docs, err := fieldDocs()
	comments := make(map[string]string, len(docs))
	for name, doc := range docs {
		comments[name] = doc.text
	}
	return comments, err
}

// fieldDoc is a field's comment: its text, and the lines in it that are for programs.
type fieldDoc struct {
	text       string
	directives []string
}

// fieldDocs are the comments of all fields, by "Struct.Field".
func fieldDocs() (map[string]fieldDoc, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", source, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("read the settings' comments: %w", err)
	}
	docs := map[string]fieldDoc{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if fields, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range fields.Fields.List {
				for _, name := range field.Names {
					doc := fieldDoc{text: field.Doc.Text()}
					if field.Doc != nil {
						for _, line := range field.Doc.List {
							if strings.HasPrefix(line.Text, "//flag:") {
								doc.directives = append(doc.directives, line.Text)
							}
						}
					}
					docs[spec.Name.Name+"."+name.Name] = doc
				}
			}
		}
		return false
	})
	return docs, nil
}
