/** An example of a file of devices, which the help shows. */

export const example = `duration: 10m
devices:
  - name: thermometer
    count: 100
    start: 10s                   # they come one after the other in this time
    client-id: "thermometer-{{device}}"
    keep-alive: 60
    session-expiry: 1h           # the broker keeps their sessions
    online: 5m..10m              # they stay so long,
    away: 10s..1m                # then go, and come back after that
    drops: 20%                   # so many go without a word, and their wills are published
    will: { topic: "rooms/{{device}}/state", payload: offline, qos: 1, retain: true }
    values:
      temperature: { walk: { from: 20, step: 0.3, min: 15, max: 30 }, digits: 1 }
      humidity: { normal: [60, 5], min: 0, max: 100, digits: 0 }
      door: { choice: [open, closed], weights: [1, 9] }
    publish:
      - { on: connect, topic: "rooms/{{device}}/state", payload: online, qos: 1, retain: true }
      - every: 5s                # or 1s..5s, { exponential: 5s }, { normal: [5s, 1s] }
        topic: "rooms/{{device}}/climate"
        json: { t: "{{temperature}}", h: "{{humidity}}", door: "{{door}}", at: "{{time}}" }
    subscribe:
      - { topic: "rooms/{{device}}/set", qos: 1 }`;
