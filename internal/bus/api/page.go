package api

import "encoding/json"

// pageRoom is kept free in a message for the JSON around a list, and for the total of a report.
const pageRoom = 2 << 10

// room is how many bytes of a message a list may take.
func (a *API) room() int { return int(a.nc.MaxPayload()) - pageRoom }

// fill shows the first rows: at most so many (0: any number), as long as they fit into the free
// bytes, and at least one, so that the next page makes progress.
func fill[Row, Shown any](rows []Row, most, free int, show func(Row) Shown) []Shown {
	page := []Shown{} // never null on the wire
	for _, row := range rows {
		shown := show(row)
		encoded, _ := json.Marshal(shown) // the encoding of the whole answer will fail as well
		free -= len(encoded) + len(",")
		if len(page) > 0 && (free < 0 || most > 0 && len(page) == most) {
			break
		}
		page = append(page, shown)
	}
	return page
}

// asIs shows a row as it is.
func asIs[Row any](row Row) Row { return row }
