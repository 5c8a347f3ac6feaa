package gateway

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
)

//go:embed openapi.yaml
var openAPIYAML []byte

//go:embed pages.tmpl
var pagesTemplate string

// pages are the pages that the edge shows about itself. They are made once:
// nothing on them depends on a request.
type pages struct {
	docsHTML, problemsHTML, indexHTML []byte
	problemHTML                       map[string][]byte
}

func newPages() (*pages, error) {
	t, err := template.New("pages").Parse(pagesTemplate)
	if err != nil {
		return nil, fmt.Errorf("gateway: pages: %w", err)
	}
	doc, err := readDescription(openAPIYAML)
	if err != nil {
		return nil, fmt.Errorf("gateway: openapi.yaml: %w", err)
	}
	p := &pages{problemHTML: map[string][]byte{}}
	render := func(name string, data any) []byte {
		var b bytes.Buffer
		if e := t.ExecuteTemplate(&b, name, data); e != nil && err == nil {
			err = fmt.Errorf("gateway: page %s: %w", name, e)
		}
		return b.Bytes()
	}
	p.docsHTML = render("docs", doc)
	p.problemsHTML = render("problems", sortedProblems())
	p.indexHTML = render("index", doc)
	for code, row := range problemTable {
		p.problemHTML[code] = render("problem", row)
	}
	return p, err
}

func page(w http.ResponseWriter, html []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	// The pages have a style element and nothing else to load or run.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("Cache-Control", "max-age=300")
	_, _ = w.Write(html)
}

func (p *pages) docs(w http.ResponseWriter, _ *http.Request)     { page(w, p.docsHTML) }
func (p *pages) problems(w http.ResponseWriter, _ *http.Request) { page(w, p.problemsHTML) }
func (p *pages) index(w http.ResponseWriter, _ *http.Request)    { page(w, p.indexHTML) }

func (p *pages) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(openAPIYAML)
}

func (g *Gateway) problemPage(w http.ResponseWriter, r *http.Request) {
	html, ok := g.pages.problemHTML[r.PathValue("code")]
	if !ok {
		g.refuse(w, r, notFound("no such problem code"))
		return
	}
	page(w, html)
}
