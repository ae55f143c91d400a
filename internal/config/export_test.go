package config

// Unbuilt lists, without prefix, the settings that are known by name and not built.
func Unbuilt() []string {
	var names []string
	for _, s := range unbuilt() {
		names = append(names, s.name)
	}
	return names
}

// WhyNever says why a setting of that list is not to come. Empty: it is, or it
// is not of the list.
func WhyNever(name string) string {
	for _, s := range unbuilt() {
		if s.name == name {
			return s.never
		}
	}
	return ""
}
