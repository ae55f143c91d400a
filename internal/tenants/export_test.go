package tenants

// Found is how many names are kept.
func (d *Directory[S]) Found() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.found.order.Len()
}
