package consumers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// A kafka.Writer whose fields are left out acknowledges what no broker has.
// So there is one literal, in writer.go, and no NewWriter. A test may stand in
// for an outside producer, but has to spell out its acks.
func TestThereIsOneKafkaWriterInTheTree(t *testing.T) {
	root := ".."
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal("the module's root is not where this test looks")
	}
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		found = append(found, writersIn(path)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || !strings.HasPrefix(found[0], filepath.Join(root, "consumers", "writer.go")) {
		t.Fatalf("kafka.Writer made at %v, want only consumers/writer.go", found)
	}
}

// writersIn returns the places of a file that make a Writer, under whatever
// name kafka-go is imported.
func writersIn(path string) []string {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil // it does not compile; that is another test's business
	}
	name := ""
	for _, imp := range file.Imports {
		if p, _ := strconv.Unquote(imp.Path.Value); p == "github.com/segmentio/kafka-go" {
			if name = "kafka"; imp.Name != nil {
				name = imp.Name.Name
			}
		}
	}
	if name == "" {
		return nil
	}
	var found []string
	names := map[string]bool{"Writer": true, "WriterConfig": true, "NewWriter": true}
	note := func(e ast.Expr) {
		sel, ok := e.(*ast.SelectorExpr)
		if !ok || !names[sel.Sel.Name] {
			return
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == name {
			found = append(found, set.Position(e.Pos()).String())
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if !strings.HasSuffix(path, "_test.go") || !saysAcks(n) {
				note(n.Type)
			}
		case *ast.CallExpr:
			note(n.Fun)
			if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "new" && len(n.Args) == 1 {
				note(n.Args[0])
			}
		case *ast.ValueSpec:
			note(n.Type)
		}
		return true
	})
	return found
}

func saysAcks(lit *ast.CompositeLit) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return false
		}
		k, ok := kv.Key.(*ast.Ident)
		return ok && k.Name == "RequiredAcks"
	})
}

func TestTheWriterWaitsForEveryReplicaAndNotForCompany(t *testing.T) {
	w, _ := newWriter(KafkaConfig{Brokers: []string{"127.0.0.1:1"}}, time.Millisecond, nil)
	if w.RequiredAcks != kafka.RequireAll {
		t.Error("acks are not all")
	}
	if w.BatchTimeout > 10*time.Millisecond {
		t.Error("a record waits for company")
	}
	if w.AllowAutoTopicCreation || w.Async {
		t.Error("topics would appear by typing error, or errors would vanish")
	}
	if w.MaxAttempts != 1 {
		t.Error("the Writer would retry on its own, after its caller has answered")
	}
}
