package definition

import "strconv"

// quote is text for an error.
func quote(text string) string { return strconv.Quote(short(text)) }

// suggestion is "; did you mean X?" if one of the words is near, else empty.
func suggestion(word string, words []string) string {
	best := nearest(word, words)
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// nearest is the word that word most likely was meant to be, or empty.
func nearest(word string, words []string) string {
	best, least := "", min(3, 1+len(word)/4)+1
	for _, w := range words {
		if len(w) > 40 || len(w)-len(word) >= least || len(word)-len(w) >= least {
			continue
		}
		if d := distance(word, w); d < least && d < len(w) {
			best, least = w, d
		}
	}
	return best
}

// distance is how many letters to add, drop, replace or swap make b of a.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		older := before
		before, row = row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(before[j]+1, row[j-1]+1, before[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
