package app

// StepsUnderWay returns the number of the step that each loop is in; one that
// rests is left out.
func (a *App) StepsUnderWay() map[string]uint64 {
	a.progress.mu.Lock()
	defer a.progress.mu.Unlock()
	steps := map[string]uint64{}
	for name, w := range a.progress.loops {
		if step, yes := w.UnderWay(); yes {
			steps[name] = step
		}
	}
	return steps
}

// Loops counts the loops.
func (a *App) Loops() int {
	a.progress.mu.Lock()
	defer a.progress.mu.Unlock()
	return len(a.progress.loops)
}
