-- Any new value asks for a try; the resource version is another one after every change of the object.
local annotations = obj.metadata.annotations or {}
annotations["edgesmith.dev/retry"] = "argocd-" .. (obj.metadata.resourceVersion or "0")
obj.metadata.annotations = annotations
return obj
