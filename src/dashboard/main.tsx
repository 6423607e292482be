/** The dashboard: a program for browsers. It shows what the HTTP API tells, and changes what its user may change. */
import { render } from "preact";
import { App } from "./app.tsx";
import "./style.css";

document.body.replaceChildren();
render(<App />, document.body);
