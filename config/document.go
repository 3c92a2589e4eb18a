package config

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// Document writes the page of all settings, docs/configuration.md, from the comments that Dump writes too: one text is the
// source of both.
func Document(w io.Writer) error {
	comments, err := fieldComments()
	if err != nil {
		return err
	}
	settings := Defaults()
	settings.Node.DataDir = "~/.whisperpush" // of whoever runs it
	var page strings.Builder
	page.WriteString("# Settings\n\n" +
		"Every key of the settings file (`wnode --config FILE`), with its default. This page is made from the comments in\n" +
		"[config.go](../config/config.go), as is what `wnode dumpconfig` prints. `wnode --help` lists the flags, which win over the\n" +
		"file; `wnode check-config` says what is wrong with a file.\n")
	if err := documentTable(&page, comments, "", reflect.ValueOf(settings)); err != nil {
		return err
	}
	_, err = io.WriteString(w, page.String())
	return err
}

// documentTable writes the keys of struct v, then its tables, of which path is the name; empty at the root.
func documentTable(page *strings.Builder, comments map[string]string, path string, v reflect.Value) error {
	t := v.Type()
	var tables []reflect.StructField
	for field := range fieldsOf(t) {
		if field.Type.Kind() == reflect.Struct || field.Type == reflect.TypeFor[[]Provider]() {
			tables = append(tables, field)
			continue
		}
		var value bytes.Buffer
		if err := toml.NewEncoder(&value).Encode(map[string]any{field.Name: v.FieldByIndex(field.Index).Interface()}); err != nil {
			return fmt.Errorf("document settings: %w", err)
		}
		fmt.Fprintf(page, "\n`%s`\n\n", strings.TrimSpace(value.String()))
		for line := range strings.Lines(comments[t.Name()+"."+field.Name]) {
			page.WriteString(documented(line))
		}
	}
	for _, field := range tables {
		name := strings.TrimPrefix(path+"."+field.Name, ".")
		heading := "[" + name + "]"
		if field.Type.Kind() == reflect.Slice {
			heading = "[" + heading + "]"
		}
		fmt.Fprintf(page, "\n## %s\n\n", heading)
		for line := range strings.Lines(comments[t.Name()+"."+field.Name]) {
			page.WriteString(documented(line))
		}
		if field.Type.Kind() == reflect.Struct {
			if err := documentTable(page, comments, name, v.FieldByIndex(field.Index)); err != nil {
				return err
			}
		}
	}
	return nil
}

// documented is a line of a comment as Markdown: what is indented is code there too, and the rest is text.
func documented(line string) string {
	if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
		return "    " + strings.TrimLeft(line, " \t")
	}
	return strings.NewReplacer("<", "&lt;", "*", "\\*", "_", "\\_").Replace(line)
}
