"""paho-mqtt (Debian), as its pages have it: subscribes when connected, loops for ever; prints what comes."""
import sys

import paho.mqtt.client as mqtt

client = mqtt.Client(protocol={"311": mqtt.MQTTv311, "5": mqtt.MQTTv5}[sys.argv[2]])
client.reconnect_delay_set(1, 2)
client.on_connect = lambda client, *_: client.subscribe("restart")
client.on_message = lambda _client, _userdata, message: print(message.payload.decode(), flush=True)
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_forever()
